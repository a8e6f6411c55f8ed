// Keeps what was read from files, by the paths it was read from.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace sala {

/// May be shared between threads; what get() returns lives as long as this.
template <typename T>
class LoadOnce {
 public:
  /// The T of these paths; `load` makes it when nobody has asked before.
  template <typename Load>
  const T& get(const std::vector<std::string>& paths, const Load& load) const {
    const std::lock_guard lock(mutex_);
    auto found = loaded_.find(paths);
    if (found == loaded_.end()) {
      found = loaded_.emplace(paths, std::make_unique<const T>(load())).first;
    }
    return *found->second;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::map<std::vector<std::string>, std::unique_ptr<const T>> loaded_;
};

}  // namespace sala
