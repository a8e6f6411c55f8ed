// Times a prompt of 1M tokens for each RULER task.
// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/bench_prompts.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "engine/bench/measured.h"
#include "harness/cli/options.h"
#include "harness/compare/ruler_summary.h"
#include "harness/task.h"

namespace sala {
namespace {

constexpr std::int64_t kTokens = 1 << 20;

const Tokenizer& byte_level_tokenizer() {
  static const auto tokenizer = load_tokenizer(resolve_model("needle-hybrid"));
  return *tokenizer;
}

/// A strict prompt stands alone; an official one pays for the search of its size.
void add_prompt_benchmark(std::string_view task_name, const char* mode) {
  add_benchmark(fmt::format("prompt/{}/{}/1M", task_name, mode), Clock::host,
                [name = std::string(task_name), mode](benchmark::State& state) {
                  const Tokenizer& tokenizer = byte_level_tokenizer();
                  TaskOptions options{.length = kTokens, .seed = 42, .data = {}};
                  options.mode = mode;
                  std::int64_t tokens = 0;
                  for (auto _ : state) {
                    const auto task = make_task(name);
                    const Sample sample = task->make(options, 0, tokenizer);
                    tokens += static_cast<std::int64_t>(sample.prompt_ids.size());
                  }
                  state.counters["tokens"] = benchmark::Counter(static_cast<double>(tokens),
                                                                benchmark::Counter::kAvgIterations);
                });
}

}  // namespace

void add_prompt_benchmarks() {
  for (const std::string_view task : kRulerTasks) add_prompt_benchmark(task, "strict");
  for (const char* task : {"niah_multikey_3", "vt", "fwe"}) add_prompt_benchmark(task, "official");
}

}  // namespace sala
