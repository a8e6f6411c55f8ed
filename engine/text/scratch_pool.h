// Working memory that concurrent calls borrow, so that caches stay warm and no lock is held.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace sala {

template <typename T>
class ScratchPool {
 public:
  /// Calls use(scratch) with one that no other thread has; an exception discards it.
  template <typename Use>
  void with(const Use& use) {
    std::unique_ptr<T> scratch = borrow();
    use(*scratch);
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(scratch));
  }

 private:
  std::unique_ptr<T> borrow() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return std::make_unique<T>();
    auto scratch = std::move(idle_.back());
    idle_.pop_back();
    return scratch;
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> idle_;
};

}  // namespace sala
