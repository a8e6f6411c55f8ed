// Adds up bytes by category and remembers the peak.
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/memory_ledger.h"

#include <algorithm>

#include "engine/base/error.h"

namespace sala {

MemoryUse& MemoryLedger::find(std::string_view category) {
  const auto found = std::find_if(uses_.begin(), uses_.end(),
                                  [&](const MemoryUse& use) { return use.category == category; });
  if (found != uses_.end()) return *found;
  return uses_.emplace_back(MemoryUse{.category = std::string(category)});
}

void MemoryLedger::add(std::string_view category, std::int64_t bytes) {
  MemoryUse& use = find(category);
  use.live_bytes += bytes;
  use.peak_bytes = std::max(use.peak_bytes, use.live_bytes);
  live_ += bytes;
  if (live_ > peak_) {
    peak_ = live_;
    for (MemoryUse& each : uses_) each.at_peak_bytes = each.live_bytes;
  }
}

void MemoryLedger::remove(std::string_view category, std::int64_t bytes) {
  MemoryUse& use = find(category);
  SALA_CHECK(use.live_bytes >= bytes, "a category gives back no more than it took");
  use.live_bytes -= bytes;
  live_ -= bytes;
}

void MemoryLedger::plan(std::string_view category, std::int64_t bytes) {
  find(category).planned_bytes = bytes;
}

void MemoryLedger::restart_peaks() {
  peak_ = live_;
  for (MemoryUse& use : uses_) {
    use.peak_bytes = use.live_bytes;
    use.at_peak_bytes = use.live_bytes;
  }
}

}  // namespace sala
