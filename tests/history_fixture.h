// Made-up results of one suite measured by fourteen builds, with steps at known ones.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <random>
#include <string>

#include "harness/store/reader.h"

namespace sala {

constexpr int kHistoryBuilds = 14;
// Builds, counted from 0, from which on the hybrid model differs.
constexpr int kSlowerFrom = 8;      // TTFT at 65,536 tokens by 6 %
constexpr int kSmallerFrom = 5;     // peak memory by a tenth
constexpr int kLessRightFrom = 10;  // 8 of 40 prompts that were right
constexpr int kWildBuild = 6;       // twice the decode time, this once

/// A hybrid and a full model: speed cells at two lengths and one accuracy cell by every build.
inline Results history_results() {
  std::mt19937_64 generator(11);
  const auto noise = [&] {
    return 1 + 0.006 * (static_cast<double>(generator() >> 11) * 0x1p-53 - 0.5);
  };
  Results results;
  for (const char* name : {"toy-hybrid", "toy-full"}) {
    results.models.push_back({.name = name,
                              .dtype = "bf16",
                              .weights_sha256 = fmt::format("{:064}", results.models.size()),
                              .tokenizer_sha256 = "t",
                              .n_layers = 2,
                              .layer_pattern = {"sparse", "linear"}});
  }
  for (std::size_t build = 0; build < kHistoryBuilds; ++build) {
    const auto at = static_cast<int>(build);
    results.environments.push_back(
        {.env_hash = fmt::format("{:064x}", build),
         .hostname = "testhost",
         .cpu_model = "Imaginary CPU 9000",
         .n_cores = 2,
         .ram_bytes = std::int64_t{24} << 30,
         .os = "Debian 12",
         .kernel = "Linux 6.1",
         .version = "0.1.0",
         .git_commit = fmt::format("{:08x}{:032}", 0x1abc0001 * (build + 1), 0),
         .compiler = "gcc 12.2",
         .flags = "-O3",
         .info = "{}"});
    const std::int64_t began = 1'700'000'000'000'000 + at * std::int64_t{86'400'000'000};
    results.sweeps.push_back({.uid = fmt::format("sweep-{:02}", build),
                              .name = "nightly",
                              .created_us = began,
                              .spec = "{}"});
    for (const bool hybrid : {true, false}) {
      const auto new_cell = [&](const char* kind, std::int64_t length) -> CellRecord& {
        CellRecord& cell = results.cells.emplace_back();
        cell.cell_key = fmt::format("cell-{}", results.cells.size());
        cell.compare_key = fmt::format("{}-{}", kind, length);
        cell.kind = kind;
        cell.mode = hybrid ? "hybrid" : "full";
        cell.backend = "cpu";
        cell.params = R"({"device_name":"Imaginary CPU 9000","prompt":"niah_single_2"})";
        cell.model = hybrid ? 0 : 1;
        cell.sweep = build;
        cell.context_len = length;
        cell.status = "ok";
        RunRecord& run = cell.runs.emplace_back();
        run.uid = fmt::format("run-{}", results.cells.size());
        run.attempt = 1;
        run.status = "ok";
        run.grade = "measured";
        run.started_us = began;
        run.environment = build;
        run.argv = {"sala", "run"};
        return cell;
      };
      for (const std::int64_t length : {16384, 65536}) {
        CellRecord& cell = new_cell("perf", length);
        const auto n = static_cast<double>(length);
        const bool slower = hybrid && length == 65536 && at >= kSlowerFrom;
        const double wild = !hybrid && at == kWildBuild ? 2 : 1;
        for (std::int64_t rep = 0; rep < 5; ++rep) {
          const auto add = [&](const char* metric, double value) {
            cell.values.push_back({metric, "total", rep, -1, value});
          };
          add("ttft_ns", (slower ? 1.06 : 1.0) * noise() * n * (hybrid ? 6e5 : 9e5));
          add("tpot_ns", wild * noise() * (hybrid ? 4e6 : 5e6));
          add("device_peak_bytes", (hybrid && at >= kSmallerFrom ? 0.9 : 1.0) * n * 8192);
        }
      }
      CellRecord& cell = new_cell("accuracy", 16384);
      cell.task = "niah_single_2";
      cell.scorer = "ruler_all";
      for (std::int64_t i = 0; i < 40; ++i) {
        AnswerRecord& answer = cell.answers.emplace_back();
        answer.prompt = i;
        answer.sample_index = i;
        answer.cluster = std::to_string(i);
        answer.references = "[]";
        answer.correct = i >= 4 && !(hybrid && at >= kLessRightFrom && i >= 32);
        answer.score = answer.correct ? 1 : 0;
        answer.error_class = answer.correct ? "" : "miss";
        answer.finish = "eos";
      }
    }
  }
  return results;
}

}  // namespace sala
