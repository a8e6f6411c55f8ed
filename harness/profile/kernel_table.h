// Times of kernels, gathered per stage and kernel.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "harness/store/profile_rows.h"

namespace sala {

/// Stage of a kernel that was launched outside every range of this program.
constexpr const char* kOutsideStages = "outside";

/// From the start of the first kernel to the end of the last one.
struct KernelSpan {
  std::int64_t ns = 0;
  std::int64_t busy_ns = 0;  // with a kernel running, however many at once
};

struct KernelTable {
  std::vector<KernelRow> rows;  // the longest first
  std::int64_t n = 0;
  std::int64_t total_ns = 0;       // of all kernels, each alone
  std::optional<KernelSpan> span;  // where the tool lets kernels run as they do without it
};

/// A counter of one launch.
struct KernelCounter {
  std::string name;
  std::string unit;
  double value = 0;
};

class KernelTally {
 public:
  void add(const std::string& stage, const std::string& kernel, std::int64_t ns,
           const std::vector<KernelCounter>& counters = {});
  /// Percentiles are times that occurred (nearest rank); counters are means over the launches that
  /// have them.
  KernelTable table() const;

 private:
  struct Launches {
    std::vector<std::int64_t> ns;
    std::vector<CounterRow> counters;  // value: the sum
  };
  std::map<std::pair<std::string, std::string>, Launches> launches_;
};

/// The function's own name: no namespaces, template arguments, parameters or result.
std::string short_kernel_name(std::string_view demangled);

}  // namespace sala
