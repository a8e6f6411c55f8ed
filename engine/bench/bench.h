// Micro-benchmarks of the kernels.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace sala {

/// Checks the kernels against their references, then times them on all cores; results go to stdout
/// as a table or as Google Benchmark's JSON. benchmark_args: its flags, e.g.
/// "--benchmark_filter=gemm". Returns how many benchmarks ran. Throws Error when a kernel is wrong,
/// a flag is unknown or nothing matches.
int run_benchmarks(const std::vector<std::string>& benchmark_args, bool json);

}  // namespace sala
