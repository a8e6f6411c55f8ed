// Keeps noise floors and verdicts in a results database.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "harness/compare/gate.h"

namespace sala {

/// How often gates of one binary against itself found something since the last calibration.
struct AlarmRate {
  std::int64_t trials = 0;
  std::int64_t alarms = 0;
};

/// A binary as it enters a gate.
struct GateBinary {
  std::filesystem::path path;
  std::string sha256;
};

class GateStore {
 public:
  enum class Access : std::uint8_t { read, write };
  /// Throws Error naming the file when it cannot be opened that way.
  GateStore(const std::filesystem::path& path, Access access);
  ~GateStore();
  GateStore(const GateStore&) = delete;
  GateStore& operator=(const GateStore&) = delete;

  /// The newest floor of this item's number on its work in these surroundings, unless it is older
  /// than max_age_days.
  std::optional<NoiseFloor> floor(const std::string& surroundings, const GateItem& item,
                                  double max_age_days) const;
  /// Adds the floors that pairs of one binary show.
  void add_floors(const std::string& surroundings, const std::vector<GateItem>& items);

  AlarmRate alarm_rate(const std::string& surroundings) const;

  /// Writes the gate as running; returns its uid.
  std::string begin(const GateBinary& baseline, const GateBinary& candidate, const Policy& policy,
                    const std::filesystem::path& parent_folder);
  void finish(const GateReport& report, const std::string& surroundings);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sala
