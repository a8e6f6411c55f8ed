// Ten thousand made-up samples, written the way `sala run` writes them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "engine/base/sha256.h"
#include "harness/store/writer.h"

namespace sala {

constexpr int kLargeSamples = 10000;  // of two sides, ten tasks and ten lengths, 50 each

/// A hybrid and a full model; answers of 200 bytes, half of them wrong.
inline void write_large_results(const std::filesystem::path& path) {
  std::mt19937_64 generator(5);
  const auto uniform = [&] { return static_cast<double>(generator() >> 11) * 0x1p-53; };
  EnvironmentRow environment;
  environment.machine_uid = "machine";
  environment.hostname = "testhost";
  environment.cpu_model = "Imaginary CPU 9000";
  environment.git_commit = "0123456789abcdef0123456789abcdef01234567";
  environment.version = "0.1.0";
  environment.info = "{}";
  std::vector<CellRow> cells;
  for (int doubling = 0; doubling < 10; ++doubling) {
    const std::int64_t length = std::int64_t{4096} << doubling;
    for (int task = 0; task < 10; ++task) {
      for (const bool hybrid : {true, false}) {
        const std::string side = hybrid ? "model" : "baseline";
        const std::string name = fmt::format("task_{}", task);
        const std::string work = fmt::format("{} {}", name, length);
        cells.push_back({.cell_key = sha256_hex(work + side),
                         .compare_key = sha256_hex(work),
                         .kind = "accuracy",
                         .mode = hybrid ? "hybrid" : "full",
                         .backend = "cpu",
                         .model = {hybrid ? "large-hybrid" : "large-full",
                                   hybrid ? "w1" : "w2",
                                   "t",
                                   "bf16",
                                   {hybrid ? "sparse" : "dense"},
                                   "{}"},
                         .task = TaskRow{name, 1, "ruler_all", 1, "{}"},
                         .context_len = length,
                         .params = fmt::format(R"({{"side":"{}"}})", side)});
      }
    }
  }
  ResultWriter writer(path, {"sala", "run", "--suite", "large"});
  writer.open_sweep({"large", "{}"}, environment, cells);
  for (std::size_t c = 0; c < cells.size(); ++c) {
    const CellRow& cell = cells[c];
    const bool hybrid = cell.mode == "hybrid";
    const auto n = static_cast<double>(cell.context_len);
    writer.begin_run(c);
    for (std::int64_t i = 0; i < kLargeSamples / 200; ++i) {
      const double ttft = (0.95 + 0.1 * uniform()) * n * (hybrid ? 6e5 : 3e5 + 3 * n);
      const bool right = uniform() < 0.5;
      PromptRow prompt{.tokens_sha256 = sha256_hex(fmt::format("{} {}", cell.compare_key, i)),
                       .target_len = cell.context_len,
                       .n_tokens = cell.context_len - 40,
                       .gen_budget = 32,
                       .depth_pct = 100 * uniform(),
                       .cluster = fmt::format("haystack-{}", i),
                       .seed = 42,
                       .answer = R"(["1234567"])",
                       .sample_index = i,
                       .needles = {}};
      AnswerRow answer{.output = std::string(200, static_cast<char>('a' + i % 26)),
                       .output_tokens_sha256 = "h",
                       .n_out = 32,
                       .finish = "eos",
                       .score = right ? 1.0 : 0.0,
                       .error_class = right ? "" : "miss",
                       .scorer_detail = R"({"edit_distance":3})",
                       .ttft_ns = std::llround(ttft),
                       .total_ns = std::llround(2 * ttft)};
      SampleRow sample{.answer = {{prompt, answer}},
                       .values = {},
                       .memory = {{"weights", 1 << 28, 1 << 28, 1 << 28, 1 << 28}},
                       .peak_bytes = 1 << 28,
                       .route = {{0, "prefill", hybrid ? "sparse" : "dense", "k", 1, 1, 1}}};
      const auto add = [&](const char* metric, const std::string& stage, std::int64_t pos,
                           double value) {
        sample.values.push_back(
            {.metric = metric, .stage = stage, .rep = i, .pos = pos, .value = value});
      };
      add("ttft_ns", "total", -1, ttft);
      add("prefill_tok_s", "total", -1, n * 1e9 / ttft);
      add("tpot_ns", "total", -1, 1e7 * (1 + uniform()));
      add("device_peak_bytes", "total", -1, 1 << 28);
      for (const char* stage : {"prefill.attend", "prefill.qkv", "prefill.mlp", "prefill.output",
                                "decode.attend", "decode.mlp"}) {
        add("stage_ns", stage, -1, ttft * uniform() / 6);
      }
      for (std::int64_t token = 1; token < 8; ++token) {
        add("itl_ns", "total", token, 1e7 * (1 + uniform()));
      }
      for (int chunk = 1; chunk <= 8; ++chunk) {
        add("prefill_chunk_ns", "total", cell.context_len * chunk / 8, ttft / 8);
      }
      writer.append(sample);
    }
    writer.end_run({.status = "ok", .reason = "", .grade = "measured", .oom = std::nullopt}, {});
  }
}

}  // namespace sala
