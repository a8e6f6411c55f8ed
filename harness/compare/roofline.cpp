// A stage takes at least what its bytes take at the speed of a copy, and its products at that of
// the matrix library. SPDX-License-Identifier: Apache-2.0
#include "harness/compare/roofline.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

namespace sala {
namespace {

void bind(const Ceilings& ceilings, StageUse& use) {
  const double memory_s = use.bytes / ceilings.copy_bytes_per_s;
  const double compute_s = use.flops / ceilings.gemm_flops_per_s;
  const double launch_s = use.calls * ceilings.launch_s;
  const double least_s = std::max(memory_s, compute_s);
  use.bound = launch_s > least_s ? "launch" : compute_s > memory_s ? "compute" : "memory";
  if (use.ns > 0) use.fraction = 1e9 * std::max(least_s, launch_s) / use.ns;
}

}  // namespace

std::vector<StageUse> stage_uses(const CellRecord& cell, const std::string& phase) {
  std::map<std::string, StageUse> stages;
  std::set<std::int64_t> requests;
  for (const ValueRecord& value : cell.values) {
    if (!value.stage.starts_with(phase + ".")) continue;
    StageUse& use = stages[value.stage];
    if (value.metric == "stage_ns") use.ns += value.value;
    if (value.metric == "stage_calls") use.calls += value.value;
    if (value.metric == "stage_flops") use.flops += value.value;
    if (value.metric == "stage_bytes") use.bytes += value.value;
    requests.insert(value.rep);
  }
  std::vector<StageUse> uses;
  const auto n = static_cast<double>(requests.size());
  for (auto& [name, use] : stages) {
    use.name = name;
    for (double* sum : {&use.ns, &use.calls, &use.flops, &use.bytes}) *sum /= n;
    if (cell.ceilings) bind(*cell.ceilings, use);
    uses.push_back(use);
  }
  std::stable_sort(uses.begin(), uses.end(),
                   [](const StageUse& a, const StageUse& b) { return a.ns > b.ns; });
  return uses;
}

std::optional<double> stage_gap_ns(const CellRecord& cell, const std::string& phase) {
  double sum = 0;
  int n = 0;
  for (const ValueRecord& value : cell.values) {
    if (value.metric != "gap_ns" || value.stage != phase) continue;
    sum += value.value;
    ++n;
  }
  if (n == 0) return std::nullopt;
  return sum / n;
}

std::vector<ChunkRate> chunk_rates(const CellRecord& cell) {
  struct Sum {
    std::int64_t tokens = 0;
    double ns = 0;
  };
  // Prompts differ in length, and with it where their chunks end.
  std::map<std::int64_t, std::map<std::int64_t, double>> by_rep;
  for (const ValueRecord& value : cell.values) {
    if (value.metric == "prefill_chunk_ns") by_rep[value.rep][value.pos] = value.value;
  }
  std::map<std::int64_t, Sum> sums;
  for (const auto& [rep, chunks] : by_rep) {
    std::int64_t begin = 0;
    for (const auto& [end, ns] : chunks) {
      sums[end].tokens += end - begin;
      sums[end].ns += ns;
      begin = end;
    }
  }
  std::vector<ChunkRate> rates;
  rates.reserve(sums.size());
  for (const auto& [end, sum] : sums) {
    rates.push_back({end, 1e9 * static_cast<double>(sum.tokens) / sum.ns});
  }
  return rates;
}

std::string stage_table(const CellRecord& cell) {
  if (!cell.ceilings) return "";
  std::string text;
  for (const char* phase : {"prefill", "decode"}) {
    const std::vector<StageUse> uses = stage_uses(cell, phase);
    double total = stage_gap_ns(cell, phase).value_or(0);
    for (const StageUse& use : uses) total += use.ns;
    for (const StageUse& use : uses) {
      text +=
          fmt::format("{:<34} {:>10.3f} {:>6.1f} {:>8.0f} {:>10.2f} {:>10.2f}  {:<8} {:>6.1f}\n",
                      use.name, use.ns * 1e-6, 100 * use.ns / total, use.calls, use.flops * 1e-9,
                      use.bytes * 1e-9, use.bound, 100 * use.fraction.value_or(0));
    }
    if (!uses.empty()) {
      const double gap = stage_gap_ns(cell, phase).value_or(0);
      text += fmt::format("{:<34} {:>10.3f} {:>6.1f}\n", std::string(phase) + ", between stages",
                          gap * 1e-6, 100 * gap / total);
    }
  }
  if (text.empty()) return text;
  return fmt::format("{:<34} {:>10} {:>6} {:>8} {:>10} {:>10}  {:<8} {:>6}\n", "stage, a request",
                     "ms", "%", "calls", "GFLOP", "GB", "bound", "% of it") +
         text;
}

}  // namespace sala
