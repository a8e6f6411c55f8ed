// sala bench: kernels against measured ceilings, and the making of prompts.
// SPDX-License-Identifier: Apache-2.0
#include "engine/bench/bench.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "harness/cli/bench_prompts.h"
#include "harness/cli/command.h"

namespace sala {
namespace {

struct BenchFlags {
  std::string device = "auto";
  std::string filter = ".";
  double min_time_s = 0.3;
  bool json = false;
};

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
  return [flags] {
    add_prompt_benchmarks();
    run_benchmarks(flags->device,
                   {"--benchmark_filter=" + flags->filter,
                    fmt::format("--benchmark_min_time={}", flags->min_time_s)},
                   flags->json);
    return 0;
  };
}

}  // namespace sala
