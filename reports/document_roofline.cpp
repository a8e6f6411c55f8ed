// Stages against the ceilings of their device, by kind of layer, and speed along one prompt.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "harness/compare/roofline.h"
#include "reports/charts.h"
#include "reports/document.h"
#include "reports/format.h"

namespace sala {
namespace {

constexpr const char* kNone = "\u2014";
constexpr std::size_t kMostPositions = 32;

/// The speed cell of a subject with the longest length that has stages; null when there is none.
const CellRecord* longest_cell(const Analysis& analysis, std::size_t subject) {
  const CellRecord* longest = nullptr;
  for (const std::size_t i : analysis.cells) {
    const CellRecord& cell = analysis.results->cells[i];
    if (analysis.subject_of_cell[i] != subject || cell.kind != "perf" || !cell.ceilings) continue;
    if (stage_uses(cell, "prefill").empty()) continue;
    if (longest == nullptr || cell.context_len > longest->context_len) longest = &cell;
  }
  return longest;
}

std::string rate_text(double per_s, const char* unit) {
  return per_s > 0 ? fmt::format("{} {}", number_text(per_s), unit) : std::string(kNone);
}

Table stages_table(const std::string& label, const CellRecord& cell, const std::string& phase) {
  const std::vector<StageUse> uses = stage_uses(cell, phase);
  const std::optional<double> gap = stage_gap_ns(cell, phase);
  double total = gap.value_or(0);
  for (const StageUse& use : uses) total += use.ns;
  Table table;
  table.caption = fmt::format("{}: stages of {} at {} tokens, mean a request", label, phase,
                              length_text(cell.context_len));
  table.columns = {{"stage", false}, {"time", true}, {"share, %", true}, {"calls", true},
                   {"GFLOP", true},  {"GB", true},   {"bound", false},   {"% of its bound", true}};
  for (const StageUse& use : uses) {
    table.rows.push_back({use.name.substr(phase.size() + 1), duration_text(use.ns),
                          percent_text(use.ns / total), number_text(use.calls),
                          number_text(use.flops * 1e-9), number_text(use.bytes * 1e-9), use.bound,
                          use.fraction ? percent_text(*use.fraction) : kNone});
  }
  if (gap) {
    table.rows.push_back({"between stages", duration_text(*gap), percent_text(*gap / total), kNone,
                          kNone, kNone, kNone, kNone});
  }
  return table;
}

/// Time by kind of layer; the embedding, norms, MLPs and the head belong to none.
Table kinds_table(const Analysis& analysis) {
  Table table;
  table.caption = "Time by kind of layer, mean a request";
  table.columns = {{"subject", false},       {"length", true}, {"phase", false},
                   {"kind of layer", false}, {"time", true},   {"share of the stages, %", true}};
  for (std::size_t s = 0; s < analysis.subjects.size(); ++s) {
    const CellRecord* cell = longest_cell(analysis, s);
    if (cell == nullptr) continue;
    for (const std::string phase : {"prefill", "decode"}) {
      std::map<std::string, double> kinds;
      double total = 0;
      for (const StageUse& use : stage_uses(*cell, phase)) {
        const std::string name = use.name.substr(phase.size() + 1);
        const std::size_t dot = name.find('.');
        kinds[dot == std::string::npos ? "none" : name.substr(0, dot)] += use.ns;
        total += use.ns;
      }
      for (const auto& [kind, ns] : kinds) {
        table.rows.push_back({analysis.subjects[s].label, length_text(cell->context_len), phase,
                              kind, duration_text(ns), percent_text(ns / total)});
      }
    }
  }
  return table;
}

Table ceilings_table(const Analysis& analysis) {
  Table table;
  table.caption = "Ceilings, measured by the process that ran the stages, before them";
  table.columns = {{"subject", false},        {"square product", true}, {"narrow product", true},
                   {"one-row product", true}, {"copy", true},           {"exponentials", true},
                   {"launch", true}};
  for (std::size_t s = 0; s < analysis.subjects.size(); ++s) {
    const CellRecord* cell = longest_cell(analysis, s);
    if (cell == nullptr) continue;
    const Ceilings& c = *cell->ceilings;
    table.rows.push_back(
        {analysis.subjects[s].label, rate_text(c.gemm_flops_per_s * 1e-9, "GFLOP/s"),
         rate_text(c.narrow_gemm_flops_per_s * 1e-9, "GFLOP/s"),
         rate_text(c.row_gemm_flops_per_s * 1e-9, "GFLOP/s"),
         rate_text(c.copy_bytes_per_s * 1e-9, "GB/s"), rate_text(c.exp_per_s * 1e-9, "G/s"),
         c.launch_s > 0 ? duration_text(c.launch_s * 1e9) : kNone});
  }
  return table;
}

/// By subject, for its longest prompt: at most kMostPositions chunks evenly spread.
std::vector<std::vector<ChunkRate>> position_rates(const Analysis& analysis) {
  std::vector<std::vector<ChunkRate>> by_subject(analysis.subjects.size());
  for (std::size_t s = 0; s < analysis.subjects.size(); ++s) {
    const CellRecord* cell = longest_cell(analysis, s);
    if (cell == nullptr) continue;
    const std::vector<ChunkRate> rates = chunk_rates(*cell);
    const std::size_t n = std::min(rates.size(), kMostPositions);
    for (std::size_t i = 0; i < n; ++i) {
      by_subject[s].push_back(rates[(i + 1) * rates.size() / n - 1]);
    }
  }
  return by_subject;
}

Table positions_table(const Analysis& analysis, const std::vector<std::vector<ChunkRate>>& rates) {
  Table table;
  table.caption = "Prefill rate along one prompt: tokens a second of the chunk that ends there";
  table.columns = {
      {"subject", false}, {"length", true}, {"tokens in context", true}, {"tokens/s", true}};
  table.folded = true;
  for (std::size_t s = 0; s < rates.size(); ++s) {
    for (const ChunkRate& rate : rates[s]) {
      table.rows.push_back({analysis.subjects[s].label,
                            length_text(longest_cell(analysis, s)->context_len),
                            length_text(rate.position), number_text(rate.tokens_per_s)});
    }
  }
  return table;
}

}  // namespace

Section roofline_section(const Analysis& analysis) {
  Section section{"roofline", "How near the device's limits", {}, {}, {}, {}};
  for (std::size_t s = 0; s < analysis.subjects.size(); ++s) {
    const CellRecord* cell = longest_cell(analysis, s);
    if (cell == nullptr) continue;
    for (const std::string phase : {"prefill", "decode"}) {
      Table table = stages_table(analysis.subjects[s].label, *cell, phase);
      if (!table.rows.empty()) section.tables.push_back(std::move(table));
    }
  }
  if (section.tables.empty()) return section;
  section.paragraphs.emplace_back(
      "A stage takes at least what its bytes take at the speed of a large copy, what its products "
      "take at the speed of a large square one, or what its launches take, whichever is most: its "
      "bound. Bytes are those that it must move, each once, given what was selected. Above 100 % "
      "of a memory bound the data came from the caches.");
  const std::vector<std::vector<ChunkRate>> rates = position_rates(analysis);
  if (std::any_of(rates.begin(), rates.end(), [](const auto& r) { return r.size() > 1; })) {
    section.figures.push_back(
        {"Prefill rate along one prompt",
         "Tokens a second of the chunk that ends at a position, mean over requests.",
         position_chart(analysis, rates), 1, true});
  }
  for (Table& table : std::vector{ceilings_table(analysis), kinds_table(analysis),
                                  positions_table(analysis, rates)}) {
    if (!table.rows.empty()) section.tables.push_back(std::move(table));
  }
  return section;
}

}  // namespace sala
