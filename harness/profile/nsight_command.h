// Command lines that run a program under Nsight Systems or Nsight Compute.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace sala {

struct NsightCommand {
  std::vector<std::string> words;
  std::filesystem::path report;  // the file that it leaves
};

/// tool: nsys, for a timeline of the first request, or ncu. stage: for ncu only, such as
/// prefill.lightning.qkv: all counters of its first kernels; without one, the times of every kernel
/// of the request, each run alone. report: file without extension. program: with its arguments.
/// Clocks and caches stay as they are without the tool. Throws Error for another tool and a
/// needless stage. Source: user guides of Nsight Systems (nsys profile) and Nsight Compute (NVTX
/// filtering).
NsightCommand nsight_command(const std::string& tool, const std::string& stage,
                             const std::string& report, const std::vector<std::string>& program);

/// As a line for a POSIX shell.
std::string shell_line(const std::vector<std::string>& command);

}  // namespace sala
