// Tables of what is known of an answer beside its score: a benchmark's own groups, a scorer's other
// figures.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "reports/document.h"
#include "reports/format.h"

namespace sala {
namespace {

using nlohmann::json;

/// Task, length, subject and the name of a group or figure.
using Key = std::tuple<std::string, std::int64_t, std::size_t, std::string>;
using Series = std::map<Key, ClusteredScores>;

bool is_share(double value) {
  return 0 <= value && value <= 1;
}

/// Shares in percent with their interval; counts as their mean.
std::string value_text(const ClusteredScores& values) {
  if (!std::all_of(values.scores.begin(), values.scores.end(), is_share)) {
    return number_text(mean(values.scores));
  }
  const Accuracy accuracy = estimate_accuracy(values);
  return fmt::format("{} % [{}]", percent_text(accuracy.mean),
                     percent_interval_text(accuracy.interval));
}

Table table_of(const Analysis& analysis, const Series& series, const char* caption,
               const char* name, const char* value) {
  Table table;
  table.caption = caption;
  table.columns = {{"task", false}, {"length", true}, {"subject", false},
                   {name, false},   {"n", true},      {value, true}};
  table.folded = true;
  for (const auto& [key, values] : series) {
    const auto& [task, length, subject, of] = key;
    table.rows.push_back({task, length_text(length), analysis.subjects[subject].label,
                          plain_text(of), fmt::format("{}", values.scores.size()),
                          value_text(values)});
  }
  return table;
}

}  // namespace

std::vector<Table> detail_tables(const Analysis& analysis) {
  Series groups;
  Series figures;
  for (const std::size_t i : analysis.cells) {
    const CellRecord& cell = analysis.results->cells[i];
    if (cell.kind != "accuracy" || is_perplexity(cell)) continue;
    const auto add = [&](Series& series, const std::string& name, double value,
                         const std::string& cluster) {
      ClusteredScores& values =
          series[{task_label(cell), cell.context_len, analysis.subject_of_cell[i], name}];
      values.scores.push_back(value);
      values.clusters.push_back(cluster);
    };
    for (const AnswerRecord& answer : cell.answers) {
      if (answer.detail.empty()) continue;
      const json detail = json::parse(answer.detail);
      for (const auto& [name, value] : detail.items()) {
        if (name == "groups") {
          for (const json& group : value) add(groups, group, answer.score, answer.cluster);
        } else if (value.is_number() && name != "prompt_tokens_left_out") {
          add(figures, name, value.get<double>(), answer.cluster);
        }
      }
    }
  }
  std::vector<Table> tables;
  if (!groups.empty()) {
    tables.push_back(
        table_of(analysis, groups, "Accuracy by the benchmark's own groups", "group", "score"));
  }
  if (!figures.empty()) {
    tables.push_back(
        table_of(analysis, figures, "What the scorers count beside the score", "figure", "mean"));
  }
  return tables;
}

}  // namespace sala
