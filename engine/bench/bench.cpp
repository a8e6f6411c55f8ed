// Registers the benchmarks with Google Benchmark and runs them.
// SPDX-License-Identifier: Apache-2.0
#include "engine/bench/bench.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/bench/layer_bench.h"
#include "engine/bench/measured.h"
#ifdef SALA_WITH_CUDA
#include "engine/bench/cuda/device_bench.h"
#endif

namespace sala {

namespace {

/// The library's reporter, counting what failed.
template <typename Reporter>
class Counting : public Reporter {
 public:
  using Reporter::Reporter;
  void ReportRuns(const std::vector<benchmark::BenchmarkReporter::Run>& runs) override {
    n_failed +=
        std::count_if(runs.begin(), runs.end(), [](const auto& run) { return run.error_occurred; });
    Reporter::ReportRuns(runs);
  }
  std::int64_t n_failed = 0;
};

/// Without the library's own lines about itself: its Debian build always calls itself DEBUG.
class TableReporter : public benchmark::ConsoleReporter {
 public:
  TableReporter() : ConsoleReporter(OO_None) {}
  bool ReportContext(const Context& context) override {
    name_field_width_ = context.name_field_width;
    printed_header_ = false;
    return true;
  }
};

/// args: the program's name first; the library keeps a pointer to that.
void start_library(std::vector<std::string>& args) {
  std::vector<char*> argv;
  argv.reserve(args.size());
  for (std::string& arg : args) argv.push_back(arg.data());
  auto argc = static_cast<int>(argv.size());
  benchmark::Initialize(&argc, argv.data());
  if (argc > 1) throw Error("bench", "unknown option '{}' of Google Benchmark", argv[1]);
}

void add_benchmarks(const Bench& bench) {
#ifdef SALA_WITH_CUDA
  if (bench.backend.device() == Device::cuda) return add_cuda_benchmarks(bench);
#endif
  check_kernels(bench.backend);
  add_cpu_benchmarks(bench);
}

template <typename Reporter>
void run_with(Counting<Reporter> reporter) {
  const std::size_t n_run = benchmark::RunSpecifiedBenchmarks(&reporter);
  benchmark::ClearRegisteredBenchmarks();
  if (n_run == 0) throw Error("--filter", "no benchmark has such a name; try --filter prefill");
  if (reporter.n_failed > 0) throw Error("bench", "{} of {} failed", reporter.n_failed, n_run);
}

}  // namespace

void add_benchmark(const std::string& name, Clock clock,
                   const std::function<void(benchmark::State&)>& body) {
  auto* added = benchmark::RegisterBenchmark(name.c_str(), [body](benchmark::State& state) {
    try {
      body(state);
    } catch (const Error& error) {
      state.SkipWithError(error.what());
    }
  });
  added->Unit(benchmark::kMicrosecond);
  if (clock == Clock::host) {
    added->UseRealTime();
  } else {
    added->UseManualTime();
  }
}

void report_work(const Bench& bench, const Work& total, double seconds, benchmark::State& state) {
  using benchmark::Counter;
  const double bytes_frac = total.bytes / seconds / bench.ceilings.copy_bytes_per_s;
  const double flops_frac = total.flops / seconds / bench.ceilings.gemm_flops_per_s;
  state.counters["bytes"] = Counter(total.bytes, Counter::kAvgIterations);
  state.counters["bytes_frac"] = bytes_frac;
  state.counters["flops"] = Counter(total.flops, Counter::kAvgIterations);
  state.counters["flops_frac"] = flops_frac;
  state.counters["bound_frac"] = std::max(bytes_frac, flops_frac);
}

void run_benchmarks(const std::string& device, const std::vector<std::string>& benchmark_args,
                    bool json) {
  std::vector<std::string> args{"sala bench"};
  args.insert(args.end(), benchmark_args.begin(), benchmark_args.end());
  start_library(args);
  const auto backend = make_backend(device, 0);
  const Bench bench{*backend, measure_ceilings(*backend)};
  add_benchmarks(bench);
  const Ceilings& ceilings = bench.ceilings;
  const DeviceInfo& info = backend->info();
  if (json) {
    benchmark::AddCustomContext("device", info.name);
    benchmark::AddCustomContext("gemm_flops_per_s",
                                fmt::format("{:.4g}", ceilings.gemm_flops_per_s));
    benchmark::AddCustomContext("copy_bytes_per_s",
                                fmt::format("{:.4g}", ceilings.copy_bytes_per_s));
    benchmark::AddCustomContext("threads", fmt::format("{}", info.threads));
    return run_with(Counting<benchmark::JSONReporter>());
  }
  fmt::print(
      "{}, {} threads; ceilings: {:.1f} GFLOP/s (library's square product), {:.1f} GB/s (copy)\n"
      "*_frac: share of the ceiling, above 1 from the caches; bound_frac: the larger one\n",
      info.name, info.threads, ceilings.gemm_flops_per_s * 1e-9, ceilings.copy_bytes_per_s * 1e-9);
  std::fflush(stdout);
  run_with(Counting<TableReporter>());
}

}  // namespace sala
