// Reads what Nsight Compute prints of a report.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "harness/profile/kernel_table.h"

namespace sala {

constexpr const char* kNcuDuration = "gpu__time_duration.sum";
/// Kept where a report has them: bytes to and from the GPU's memory, and how busy multiprocessors
/// and memory were, in % of their peak.
inline constexpr std::array kNcuCounters{"dram__bytes.sum",
                                         "sm__throughput.avg.pct_of_peak_sustained_elapsed",
                                         "dram__throughput.avg.pct_of_peak_sustained_elapsed"};

/// From the text of `ncu --page raw --csv`: a row a launch, after a row of units. Kernels count for
/// the innermost range of domain sala. source: for messages. Throws Error naming the line for
/// anything else.
/// Source: Nsight Compute CLI user guide, and its output.
KernelTable read_ncu_csv(std::string_view text, const std::string& source);

}  // namespace sala
