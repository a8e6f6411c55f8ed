// Micro-benchmarks of the kernels.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace sala {

/// Measures the ceilings of a device ("cpu", "cuda:0", ...), then times its kernels against them;
/// results go to stdout as a table or as Google Benchmark's JSON. Kernels of the CPU are compared
/// with their references before, those of a GPU have tests for that. benchmark_args: its flags,
/// e.g. "--benchmark_filter=gemm". Throws Error when a kernel is wrong or fails, a flag is unknown
/// or nothing matches.
void run_benchmarks(const std::string& device, const std::vector<std::string>& benchmark_args,
                    bool json);

}  // namespace sala
