// Times and memory by length, and the length from which one subject overtakes the other.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "reports/analysis.h"
#include "reports/format.h"

namespace sala {
namespace {

std::optional<Estimate> estimate(const std::vector<double>& values) {
  if (values.empty()) return std::nullopt;
  return Estimate{static_cast<std::int64_t>(values.size()), median(values),
                  median_interval(values)};
}

/// Raw values gathered for one subject at one length.
struct Gathered {
  std::vector<double> ttft_ns, prefill_tok_s, decode_ns;
  std::map<std::string, double> stage_total;
  double n_requests = 0;  // that the stage totals cover
};

void gather_values(const CellRecord& cell, Gathered& into, SpeedRow& row) {
  std::set<std::int64_t> staged_reps;
  for (const ValueRecord& value : cell.values) {
    if (value.metric == "stage_ns") {
      into.stage_total[value.stage] += value.value;
      staged_reps.insert(value.rep);
    } else if (value.metric == "ttft_ns") {
      into.ttft_ns.push_back(value.value);
    } else if (value.metric == "prefill_tok_s") {
      into.prefill_tok_s.push_back(value.value);
    } else if (value.metric == "tpot_ns") {
      into.decode_ns.push_back(value.value);
    } else if (value.metric == "device_peak_bytes") {
      row.peak_bytes = std::max(row.peak_bytes.value_or(0), value.value);
    }
  }
  into.n_requests += static_cast<double>(staged_reps.size());
}

/// Cells whose times stand for a length: speed cells where there are any, else answered prompts;
/// perplexity does other work, so it counts only where there is nothing else.
std::vector<std::size_t> timed_cells(const Analysis& analysis, std::size_t subject,
                                     std::int64_t length) {
  std::array<std::vector<std::size_t>, 3> ranked;
  for (const std::size_t i : analysis.cells) {
    const CellRecord& cell = analysis.results->cells[i];
    if (analysis.subject_of_cell[i] != subject || cell.context_len != length) continue;
    if (cell.values.empty() && cell.ledger.empty()) continue;
    ranked[cell.kind == "perf" ? 0 : is_perplexity(cell) ? 2 : 1].push_back(i);
  }
  for (std::vector<std::size_t>& cells : ranked) {
    if (!cells.empty()) return cells;
  }
  return {};
}

void gather_memory(const CellRecord& cell, SpeedRow& row) {
  const std::int64_t peak = ledger_peak_bytes(cell.ledger);
  if (peak == 0) return;
  row.peak_bytes = std::max(row.peak_bytes.value_or(0), static_cast<double>(peak));
  if (peak <= ledger_peak_bytes(row.ledger)) return;
  row.ledger.clear();
  std::map<std::string, std::int64_t> sums;
  std::string peak_phase;
  for (const LedgerRecord& record : cell.ledger) {
    if (record.category.starts_with("host_")) continue;
    std::int64_t& sum = sums[record.phase];
    sum += record.at_peak_bytes;
    if (sum == peak) peak_phase = record.phase;
  }
  for (const LedgerRecord& record : cell.ledger) {
    if (record.phase == peak_phase) row.ledger.push_back(record);
  }
}

void gather_routes(const CellRecord& cell, SpeedRow& row) {
  for (const RouteRecord& route : cell.routes) {
    const auto same = [&](const RouteRecord& other) {
      return other.phase == route.phase && other.path == route.path && other.kernel == route.kernel;
    };
    const auto known = std::find_if(row.routes.begin(), row.routes.end(), same);
    if (known == row.routes.end()) {
      row.routes.push_back(route);
      continue;
    }
    known->n_layers = std::max(known->n_layers, route.n_layers);
    known->n_calls += route.n_calls;
    known->blocks_read += route.blocks_read;
    known->blocks_visible += route.blocks_visible;
  }
}

/// The two subjects of the pair at one length.
struct Ratio {
  std::int64_t length = 0;
  double log = 0;      // ln(first / second)
  bool clear = false;  // their intervals do not overlap
};

std::string crossover_outcome(const std::vector<Ratio>& ratios, const std::string& first,
                              const std::string& second) {
  const auto lower = [](const Ratio& ratio) { return ratio.log <= 0; };
  const auto clear = [](const Ratio& ratio) { return ratio.clear; };
  const std::string shortest = length_text(ratios.front().length);
  const std::string longest = length_text(ratios.back().length);
  const std::string range = ratios.size() == 1
                                ? fmt::format("at {}", shortest)
                                : fmt::format("at every length from {} to {}", shortest, longest);
  if (std::none_of(ratios.begin(), ratios.end(), clear)) {
    return fmt::format("The intervals of {} and {} overlap {}", first, second, range);
  }
  if (std::all_of(ratios.begin(), ratios.end(), lower)) {
    return fmt::format("{} needs no more than {} {}", first, second, range);
  }
  if (std::none_of(ratios.begin(), ratios.end(), lower)) {
    return fmt::format("{} needs more than {} {}", first, second, range);
  }
  if (!lower(ratios.back())) {
    return fmt::format("{} needs more than {} at {}, the longest length, and less at some shorter",
                       first, second, longest);
  }
  std::size_t i = ratios.size() - 1;
  while (lower(ratios[i - 1])) --i;
  const Ratio& above = ratios[i - 1];
  const Ratio& below = ratios[i];
  const double x0 = std::log2(static_cast<double>(above.length));
  const double x1 = std::log2(static_cast<double>(below.length));
  const double crossing = std::exp2(x0 + (x1 - x0) * above.log / (above.log - below.log));
  return fmt::format("{} needs less than {} from about {} tokens on (measured at {} and {}{})",
                     first, second, std::llround(crossing), length_text(above.length),
                     length_text(below.length),
                     above.clear && below.clear ? "" : ", where intervals overlap");
}

template <typename Value>
void add_crossover(Analysis& analysis, const char* metric, Value value) {
  const auto [first, second] = *analysis.pair;
  std::vector<Ratio> ratios;
  for (const std::int64_t length : analysis.lengths) {
    const SpeedRow* a = analysis.speed_at(first, length);
    const SpeedRow* b = analysis.speed_at(second, length);
    if (a == nullptr || b == nullptr) continue;
    const std::optional<Estimate> x = value(*a);
    const std::optional<Estimate> y = value(*b);
    if (!x || !y || x->value <= 0 || y->value <= 0) continue;
    ratios.push_back({length, std::log(x->value / y->value),
                      x->interval.high < y->interval.low || y->interval.high < x->interval.low});
  }
  if (ratios.empty()) return;
  analysis.crossovers.push_back({metric, crossover_outcome(ratios, analysis.subjects[first].label,
                                                           analysis.subjects[second].label)});
}

}  // namespace

std::optional<Estimate> peak_estimate(const SpeedRow& row) {
  if (!row.peak_bytes) return std::nullopt;
  return Estimate{1, *row.peak_bytes, {*row.peak_bytes, *row.peak_bytes}};
}

void analyse_speed(Analysis& analysis) {
  for (std::size_t subject = 0; subject < analysis.subjects.size(); ++subject) {
    for (const std::int64_t length : analysis.lengths) {
      SpeedRow row;
      row.subject = subject;
      row.length = length;
      Gathered gathered;
      for (const std::size_t i : timed_cells(analysis, subject, length)) {
        const CellRecord& cell = analysis.results->cells[i];
        gather_values(cell, gathered, row);
        gather_memory(cell, row);
        gather_routes(cell, row);
      }
      row.ttft_ns = estimate(gathered.ttft_ns);
      row.prefill_tok_s = estimate(gathered.prefill_tok_s);
      row.decode_ns = estimate(gathered.decode_ns);
      for (const auto& [stage, total] : gathered.stage_total) {
        row.stage_ns[stage] = total / gathered.n_requests;
      }
      if (row.ttft_ns || row.peak_bytes || !row.stage_ns.empty()) {
        analysis.speed.push_back(std::move(row));
      }
    }
  }
  if (!analysis.pair) return;
  add_crossover(analysis, "time to first token", [](const SpeedRow& row) { return row.ttft_ns; });
  add_crossover(analysis, "decode time a token", [](const SpeedRow& row) { return row.decode_ns; });
  add_crossover(analysis, "peak memory", peak_estimate);
}

}  // namespace sala
