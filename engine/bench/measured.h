// What benchmarks of all devices share: the ceilings they are held against and how they report.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "engine/backend/backend.h"
#include "engine/bench/ceilings.h"

namespace benchmark {
class State;
}

namespace sala {

/// Work of one or more calls.
struct Work {
  double flops = 0;  // of products
  double bytes = 0;  // weights, input, output, and the part of the state that a call must read
};

/// Where benchmarks run; outlives them.
struct Bench {
  Backend& backend;
  Ceilings ceilings;
};

/// How a benchmark takes its time.
enum class Clock : std::uint8_t {
  host,   // what the loop over its state takes
  device  // what it says by SetIterationTime()
};

/// Registers a benchmark. An Error that its body throws becomes its result.
void add_benchmark(const std::string& name, Clock clock,
                   const std::function<void(benchmark::State&)>& body);

/// Attaches work per call and the shares of the ceilings that it comes to: flops_frac, bytes_frac,
/// and the larger of them, the share of the speed that the machine could have, as bound_frac.
void report_work(const Bench& bench, const Work& total, double seconds, benchmark::State& state);

/// Benchmarks of the CPU's kernels.
void add_cpu_benchmarks(const Bench& bench);

}  // namespace sala
