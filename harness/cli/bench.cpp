// sala bench: kernels against measured ceilings, and the making of prompts.
// SPDX-License-Identifier: Apache-2.0
#include "engine/bench/bench.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "harness/cli/bench_prompts.h"
#include "harness/cli/command.h"
#include "harness/runner/bench_cells.h"
#include "harness/runner/manifest.h"

namespace sala {
namespace {

struct BenchFlags {
  std::string device = "auto";
  std::string filter = ".";
  double min_time_s = 0.3;
  std::string db;
  bool json = false;
};

/// So many repetitions make a stored cell count as measured.
constexpr int kRepetitions = 5;

void store(const BenchResults& results, const std::string& db) {
  std::vector<KernelTimes> kernels;
  kernels.reserve(results.benchmarks.size());
  for (const BenchResult& result : results.benchmarks) {
    kernels.push_back({result.name, result.seconds, result.flops, result.bytes});
  }
  EnvironmentRow environment = capture_environment();
  if (!results.device.uuid.empty()) add_gpu(environment, results.device);
  ResultWriter writer(db, command_line());
  store_benchmarks(kernels, results.device, results.dtype, results.ceilings, environment, writer);
  fmt::print(stderr, "{} benchmarks are stored in {} as run {}\n", kernels.size(), db,
             writer.sweep_uid());
}

int bench(const BenchFlags& flags) {
  add_prompt_benchmarks();
  std::vector<std::string> args{"--benchmark_filter=" + flags.filter,
                                fmt::format("--benchmark_min_time={}", flags.min_time_s)};
  if (!flags.db.empty()) args.push_back(fmt::format("--benchmark_repetitions={}", kRepetitions));
  const BenchResults results = run_benchmarks(flags.device, args, flags.json);
  if (!flags.db.empty()) store(results, flags.db);
  return 0;
}

}  // namespace

Action setup_bench(CLI::App& app) {
  const auto flags = std::make_shared<BenchFlags>();
  app.add_option("--device", flags->device, "auto, cpu, cuda or cuda:I")->capture_default_str();
  app.add_option("--filter", flags->filter, "Run only benchmarks whose name matches this pattern")
      ->type_name("REGEX");
  app.add_option("--min-time", flags->min_time_s, "Seconds to repeat each benchmark for")
      ->check(CLI::Range(0.001, 3600.0))
      ->capture_default_str();
  app.add_flag("--json", flags->json, "Print Google Benchmark's JSON");
  app.add_option("--db", flags->db,
                 "Results database to store in; every benchmark is then repeated five times");
  return [flags] { return bench(*flags); };
}

}  // namespace sala
