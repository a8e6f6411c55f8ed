// Two result sets side by side: every number with its interval, every set of answers with its test.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/comparison.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "harness/compare/gate.h"

namespace sala {
namespace {

constexpr const char* kNumbers[] = {"ttft_ns",   "tpot_ns",           "prefill_tok_s",
                                    "kernel_ns", "device_peak_bytes", "host_peak_bytes"};

/// Values of a metric by repetition, or by prompt.
std::map<std::int64_t, double> by_repetition(const CellRecord& cell, const std::string& metric) {
  std::map<std::int64_t, double> values;
  for (const ValueRecord& value : cell.values) {
    if (value.metric == metric && value.stage == "total") values[value.rep] = value.value;
  }
  return values;
}

std::optional<NumberRow> compare_number(const CellPair& pair, const std::string& metric) {
  const auto first = run_value(*pair.baseline, metric, "total");
  const auto second = run_value(*pair.candidate, metric, "total");
  if (!first || !second || !(*first > 0) || !(*second > 0)) return std::nullopt;
  NumberRow row{.metric = metric, .first = *first, .second = *second};
  row.change = *second / *first - 1;
  const auto others = by_repetition(*pair.candidate, metric);
  std::vector<double> effects;
  for (const auto& [rep, value] : by_repetition(*pair.baseline, metric)) {
    const auto other = others.find(rep);
    if (other != others.end()) effects.push_back(std::log(other->second / value));
  }
  if (effects.size() > 1) {
    const Interval logs = t_interval(effects);
    row.interval = Interval{std::expm1(logs.low), std::expm1(logs.high)};
  }
  return row;
}

PairedDifference second_minus_first(const PairedScores& scores) {
  return compare_paired(scores.candidate, scores.baseline.scores, scores.baseline.clusters);
}

std::string failure_of(const CellPair& pair) {
  for (const CellRecord* cell : {pair.baseline, pair.candidate}) {
    if (cell->status != "ok") return cell->status + ": " + cell->runs.back().reason;
  }
  return "";
}

}  // namespace

Comparison compare_subjects(const ComparedSide& first, const ComparedSide& second) {
  const Pairing pairing = pair_cells(first, second);
  Comparison out;
  out.differences = pairing.differences;
  if (!out.differences.empty()) return out;
  out.surroundings = pairing.surroundings;
  out.missing = pairing.missing;
  PairedScores all;
  for (const CellPair& pair : pairing.cells) {
    ComparisonRow row{.task = work_name(*pair.baseline),
                      .length = pair.baseline->context_len,
                      .first_side = side_of(*pair.baseline),
                      .second_side = side_of(*pair.candidate),
                      .first_model = first.results.models[pair.baseline->model].name,
                      .second_model = second.results.models[pair.candidate->model].name,
                      .failure = failure_of(pair)};
    for (const char* metric : kNumbers) {
      if (const auto number = compare_number(pair, metric)) row.numbers.push_back(*number);
    }
    PairedScores scores;
    append_scores(pair, scores);
    row.one_sided = scores.one_sided;
    if (!scores.candidate.empty()) {
      row.first_accuracy = mean(scores.baseline.scores);
      row.second_accuracy = mean(scores.candidate);
      row.paired = second_minus_first(scores);
      if (pair.baseline->scorer != "perplexity") append_scores(pair, all);
    }
    out.rows.push_back(std::move(row));
  }
  adjust_p_values(out.rows);
  if (!all.candidate.empty()) out.overall = second_minus_first(all);
  return out;
}

}  // namespace sala
