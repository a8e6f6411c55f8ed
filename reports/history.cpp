// Gathers the series and finds their steps: ratios of times and bytes, differences of scores.
// SPDX-License-Identifier: Apache-2.0
#include "reports/history.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <tuple>

#include "engine/base/sha256.h"
#include "harness/compare/pairing.h"

namespace sala {
namespace {

constexpr double kSmallestRatio = 1.01;

/// By environment.
std::vector<std::string> surroundings_hashes(const Results& results) {
  std::vector<std::string> hashes;
  hashes.reserve(results.environments.size());
  for (const EnvironmentRecord& environment : results.environments) {
    hashes.push_back(sha256_hex(surroundings_of(environment)).substr(0, 8));
  }
  return hashes;
}

/// Empty when the attempts of the cell saw different ones.
std::string common_surroundings(const CellRecord& cell, const std::vector<std::string>& hashes) {
  const std::string& first = hashes[cell.runs.front().environment];
  const bool equal = std::ranges::all_of(
      cell.runs, [&](const RunRecord& run) { return hashes[run.environment] == first; });
  return equal ? first : "";
}

bool is_score(HistoryMetric metric) {
  return metric == HistoryMetric::accuracy;
}

std::vector<double> values_of(const CellRecord& cell, std::string_view metric) {
  std::vector<double> values;
  for (const ValueRecord& value : cell.values) {
    if (value.metric == metric) values.push_back(value.value);
  }
  return values;
}

/// The cell's number, and how many samples are behind it; nothing when it has none.
std::optional<std::pair<double, std::size_t>> number_of(const CellRecord& cell,
                                                        HistoryMetric metric) {
  std::vector<double> values;
  switch (metric) {
    case HistoryMetric::ttft:
      values = values_of(cell, "ttft_ns");
      break;
    case HistoryMetric::decode:
      values = values_of(cell, "tpot_ns");
      break;
    case HistoryMetric::peak:
      values = values_of(cell, "device_peak_bytes");
      break;
    case HistoryMetric::accuracy:
      for (const AnswerRecord& answer : cell.answers) values.push_back(answer.score);
      break;
  }
  if (values.empty()) return std::nullopt;
  const std::size_t n = values.size();
  if (is_score(metric)) return std::pair{mean(values), n};
  const double number =
      metric == HistoryMetric::peak ? *std::ranges::max_element(values) : median(values);
  if (number <= 0) return std::nullopt;  // has no logarithm
  return std::pair{number, n};
}

HistoryRun run_of(const Results& results, const CellRecord& cell, double value, std::size_t n) {
  const RunRecord& first = cell.runs.front();
  const EnvironmentRecord& environment = results.environments[first.environment];
  return {.sweep = cell.sweep,
          .started_us = first.started_us,
          .commit = environment.git_commit.substr(0, 12) + (environment.git_dirty ? "+" : ""),
          .value = value,
          .n = static_cast<std::int64_t>(n)};
}

void find_changes(HistorySeries& series) {
  const bool by_difference = is_score(series.metric);
  std::vector<double> values;
  values.reserve(series.runs.size());
  for (const HistoryRun& run : series.runs) {
    values.push_back(by_difference ? run.value : std::log(run.value));
  }
  series.changes = change_points(values, by_difference ? kSameMargin : std::log(kSmallestRatio));
  if (by_difference) return;
  for (ChangePoint& change : series.changes) {
    change.before = std::exp(change.before);
    change.after = std::exp(change.after);
  }
}

}  // namespace

std::vector<HistorySeries> find_history(const Analysis& analysis) {
  const Results& results = *analysis.results;
  using Key = std::tuple<HistoryMetric, std::string, std::int64_t, std::string, std::size_t,
                         std::string, std::string>;
  const std::vector<std::string> hashes = surroundings_hashes(results);
  std::map<Key, HistorySeries> found;
  for (std::size_t i = 0; i < results.cells.size(); ++i) {
    const CellRecord& cell = results.cells[i];
    const bool is_accuracy = cell.kind == "accuracy";
    if (cell.status != "ok" || is_perplexity(cell) || (!is_accuracy && cell.kind != "perf")) {
      continue;
    }
    const std::string surroundings = common_surroundings(cell, hashes);
    if (surroundings.empty()) continue;
    const std::string work = is_accuracy ? task_label(cell) : work_name(cell);
    const std::size_t subject = analysis.subject_of_cell[i];
    for (const HistoryMetric metric : {HistoryMetric::ttft, HistoryMetric::decode,
                                       HistoryMetric::peak, HistoryMetric::accuracy}) {
      if (is_score(metric) != is_accuracy) continue;
      const auto number = number_of(cell, metric);
      if (!number) continue;
      HistorySeries& series = found[{metric, work, cell.context_len, surroundings, subject,
                                     cell.params, cell.compare_key}];
      series.metric = metric;
      series.work = work;
      series.length = cell.context_len;
      series.surroundings = surroundings;
      series.subject = subject;
      series.runs.push_back(run_of(results, cell, number->first, number->second));
    }
  }
  std::vector<HistorySeries> history;
  for (auto& [key, series] : found) {
    std::ranges::stable_sort(series.runs, {}, &HistoryRun::sweep);
    find_changes(series);
    history.push_back(std::move(series));
  }
  return history;
}

}  // namespace sala
