// The mean over tasks at each length, and how far a model holds out.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>

#include "harness/compare/ruler_summary.h"
#include "reports/analysis.h"

namespace sala {
namespace {

using TaskScores = std::map<std::string, ClusteredScores>;

/// RULER's tasks in its order when all are there, else every task by name.
std::vector<ClusteredScores> in_order(const TaskScores& scores, bool is_ruler) {
  std::vector<ClusteredScores> tasks;
  if (is_ruler) {
    for (const std::string_view task : kRulerTasks) tasks.push_back(scores.at(std::string(task)));
    return tasks;
  }
  for (const auto& [task, of_task] : scores) tasks.push_back(of_task);
  return tasks;
}

LengthRow length_row(std::size_t subject, std::int64_t length, const TaskScores& scores) {
  LengthRow row;
  row.subject = subject;
  row.length = length;
  std::set<std::string, std::less<>> names;
  for (const auto& [task, of_task] : scores) names.insert(task);
  row.ruler_missing = missing_ruler_tasks(names);
  row.is_ruler = row.ruler_missing.empty();
  const std::vector<ClusteredScores> tasks = in_order(scores, row.is_ruler);
  row.n_tasks = static_cast<std::int64_t>(tasks.size());
  for (const ClusteredScores& task : tasks) row.n += static_cast<std::int64_t>(task.scores.size());
  row.score = length_score(tasks, kRulerThreshold / 100);
  return row;
}

}  // namespace

void analyse_lengths(Analysis& analysis) {
  using Series = std::pair<std::size_t, std::string>;  // subject and mode
  std::map<Series, std::map<std::int64_t, TaskScores>> scores;
  for (const std::size_t i : analysis.cells) {
    const CellRecord& cell = analysis.results->cells[i];
    if (cell.kind != "accuracy" || is_perplexity(cell) || cell.answers.empty()) continue;
    const Series series{analysis.subject_of_cell[i], task_mode(cell)};
    ClusteredScores& task = scores[series][cell.context_len][cell.task];
    for (const AnswerRecord& answer : cell.answers) {
      task.scores.push_back(answer.score);
      task.clusters.push_back(answer.cluster);
    }
  }
  for (const auto& [series, by_length] : scores) {
    std::vector<LengthRow> rows;
    std::vector<LengthScore> length_scores;
    for (const auto& [length, tasks] : by_length) {
      rows.push_back(length_row(series.first, length, tasks));
      rows.back().mode = series.second;
      length_scores.push_back(rows.back().score);
    }
    const std::vector<double> effective = effective_length_probability(length_scores);
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i].p_effective = effective[i];
    analysis.length_scores.insert(analysis.length_scores.end(), rows.begin(), rows.end());
  }
}

}  // namespace sala
