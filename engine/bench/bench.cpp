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

/// The library's reporter, keeping what was measured and counting what failed.
template <typename Reporter>
class Keeping : public Reporter {
 public:
  using Reporter::Reporter;
  void ReportRuns(const std::vector<benchmark::BenchmarkReporter::Run>& runs) override {
    for (const auto& run : runs) {
      n_failed += run.error_occurred ? 1 : 0;
      if (!run.error_occurred && run.run_type == benchmark::BenchmarkReporter::Run::RT_Iteration) {
        keep(run);
      }
    }
    Reporter::ReportRuns(runs);
  }
  std::int64_t n_failed = 0;
  std::vector<BenchResult> kept;

 private:
  void keep(const benchmark::BenchmarkReporter::Run& run) {
    const std::string& name = run.run_name.function_name;
    const auto known = std::find_if(kept.begin(), kept.end(),
                                    [&](const BenchResult& result) { return result.name == name; });
    BenchResult& result = known != kept.end() ? *known : kept.emplace_back(BenchResult{name});
    result.seconds.push_back(run.real_accumulated_time / static_cast<double>(run.iterations));
    const auto counter = [&](const char* key) {
      const auto found = run.counters.find(key);
      return found == run.counters.end() ? 0.0 : found->second.value;
    };
    result.flops = counter("flops");
    result.bytes = counter("bytes");
  }
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
std::vector<BenchResult> run_with(Keeping<Reporter> reporter) {
  const std::size_t n_run = benchmark::RunSpecifiedBenchmarks(&reporter);
  benchmark::ClearRegisteredBenchmarks();
  if (n_run == 0) throw Error("--filter", "no benchmark has such a name; try --filter prefill");
  if (reporter.n_failed > 0) throw Error("bench", "{} of {} failed", reporter.n_failed, n_run);
  return std::move(reporter.kept);
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

BenchResults run_benchmarks(const std::string& device,
                            const std::vector<std::string>& benchmark_args, bool json) {
  std::vector<std::string> args{"sala bench"};
  args.insert(args.end(), benchmark_args.begin(), benchmark_args.end());
  start_library(args);
  const auto backend = make_backend(device, 0);
  const Bench bench{*backend, measure_ceilings(*backend)};
  add_benchmarks(bench);
  const Ceilings& ceilings = bench.ceilings;
  const DeviceInfo& info = backend->info();
  BenchResults results{info, dtype_name(backend->compute_dtype()), ceilings};
  if (json) {
    benchmark::AddCustomContext("device", info.name);
    benchmark::AddCustomContext("gemm_flops_per_s",
                                fmt::format("{:.4g}", ceilings.gemm_flops_per_s));
    benchmark::AddCustomContext("copy_bytes_per_s",
                                fmt::format("{:.4g}", ceilings.copy_bytes_per_s));
    benchmark::AddCustomContext("threads", fmt::format("{}", info.threads));
    results.benchmarks = run_with(Keeping<benchmark::JSONReporter>());
    return results;
  }
  fmt::print(
      "{}, {} threads; ceilings: {:.1f} GFLOP/s (library's square product), {:.1f} GB/s (copy)\n"
      "*_frac: share of the ceiling, above 1 from the caches; bound_frac: the larger one\n",
      info.name, info.threads, ceilings.gemm_flops_per_s * 1e-9, ceilings.copy_bytes_per_s * 1e-9);
  std::fflush(stdout);
  results.benchmarks = run_with(Keeping<TableReporter>());
  return results;
}

}  // namespace sala
