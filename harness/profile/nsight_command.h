// Command lines that run a program under Nsight Systems or Nsight Compute.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace sala {

/// tool: nsys, for a timeline of the first request, or ncu, for counters of the first kernels of
/// one stage. stage: such as prefill.lightning.qkv, for ncu only. report: file without extension.
/// program: with its arguments. Throws Error for another tool, a missing and a needless stage.
/// Source: user guides of Nsight Systems (nsys profile) and Nsight Compute (NVTX filtering).
std::vector<std::string> nsight_command(const std::string& tool, const std::string& stage,
                                        const std::string& report,
                                        const std::vector<std::string>& program);

/// As a line for a POSIX shell.
std::string shell_line(const std::vector<std::string>& command);

}  // namespace sala
