// Bytes by category: planned, live, peak, and what each held when the total peaked.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sala {

/// One category of memory. Only `at_peak_bytes` may be added over categories.
struct MemoryUse {
  std::string category;  // weights, kv_full, kv_sparse, sparse_index, linear_state, activations,
                         // workspace, logits
  std::int64_t planned_bytes = 0;
  std::int64_t live_bytes = 0;
  std::int64_t peak_bytes = 0;
  std::int64_t at_peak_bytes = 0;  // held at the moment the total peaked
};

/// Bytes that a plan asks for, by category.
struct CategoryBytes {
  std::string category;
  std::int64_t bytes = 0;
};

/// Accounts for every allocation of one backend. Used from one thread.
class MemoryLedger {
 public:
  void add(std::string_view category, std::int64_t bytes);
  void remove(std::string_view category, std::int64_t bytes);
  /// States what a category is expected to hold; shown beside what it really held.
  void plan(std::string_view category, std::int64_t bytes);
  /// Forgets the peaks: from now on they are counted from what is live.
  void restart_peaks();

  std::int64_t live_bytes() const { return live_; }
  std::int64_t peak_bytes() const { return peak_; }
  const std::vector<MemoryUse>& uses() const { return uses_; }

 private:
  MemoryUse& find(std::string_view category);

  std::vector<MemoryUse> uses_;
  std::int64_t live_ = 0;
  std::int64_t peak_ = 0;
};

}  // namespace sala
