// Benchmarks of kernels as cells of a sweep, stored, reported and compared like others.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "harness/store/rows.h"
#include "harness/store/writer.h"

namespace sala {

/// One benchmark: seconds of a call, a value a repetition, and what a call declares to cost.
struct KernelTimes {
  std::string name;
  std::vector<double> seconds;
  double flops = 0;
  double bytes = 0;
};

/// A speed cell for a benchmark on a device. Its compare_key says what is done, on which device and
/// in which dtype; `build` identifies the binary.
CellRow make_bench_cell(const std::string& name, const DeviceInfo& device, const std::string& dtype,
                        const EnvironmentRow& build);

/// Writes all of them as a sweep of its own: two calls of one command are two runs to compare.
/// Throws Error when the database cannot take it.
void store_benchmarks(const std::vector<KernelTimes>& kernels, const DeviceInfo& device,
                      const std::string& dtype, const Ceilings& ceilings,
                      const EnvironmentRow& environment, ResultWriter& writer);

}  // namespace sala
