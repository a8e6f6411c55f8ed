// Micro-benchmarks of the kernels.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/base/ceilings.h"

namespace sala {

/// Times of one benchmark.
struct BenchResult {
  std::string name;
  std::vector<double> seconds{};  // a call, one value a repetition
  double flops = 0;               // of a call, where it declares them
  double bytes = 0;
};

struct BenchResults {
  DeviceInfo device;
  std::string dtype;  // that the device computes in
  Ceilings ceilings;
  std::vector<BenchResult> benchmarks{};  // in the order they ran
};

/// Measures the ceilings of a device ("cpu", "cuda:0", ...), then times its kernels against them;
/// results go to stdout as a table or as Google Benchmark's JSON. Kernels of the CPU are compared
/// with their references before, those of a GPU have tests for that. benchmark_args: its flags,
/// e.g. "--benchmark_filter=gemm". Throws Error when a kernel is wrong or fails, a flag is unknown
/// or nothing matches.
BenchResults run_benchmarks(const std::string& device,
                            const std::vector<std::string>& benchmark_args, bool json);

}  // namespace sala
