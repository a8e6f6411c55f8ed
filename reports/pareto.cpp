// Better on an axis means beyond the intervals of both; what lies within them is left open.
// SPDX-License-Identifier: Apache-2.0
#include "reports/pareto.h"

#include <algorithm>
#include <map>
#include <set>

#include "harness/compare/pairing.h"

namespace sala {
namespace {

using TaskScores = std::map<std::string, ClusteredScores>;

/// Scores by length, subject and task.
std::map<std::int64_t, std::map<std::size_t, TaskScores>> gather_scores(const Analysis& analysis) {
  std::map<std::int64_t, std::map<std::size_t, TaskScores>> scores;
  for (const std::size_t i : analysis.cells) {
    const CellRecord& cell = analysis.results->cells[i];
    if (cell.kind != "accuracy" || is_perplexity(cell) || cell.answers.empty()) continue;
    ClusteredScores& task = scores[cell.context_len][analysis.subject_of_cell[i]][task_label(cell)];
    for (const AnswerRecord& answer : cell.answers) {
      task.scores.push_back(answer.score);
      task.clusters.push_back(answer.cluster);
    }
  }
  return scores;
}

/// The tasks that all subjects have.
std::vector<std::string> shared_tasks(const std::map<std::size_t, TaskScores>& scores) {
  std::vector<std::string> shared;
  for (const auto& [task, of_first] : scores.begin()->second) {
    const bool all_have = std::ranges::all_of(
        scores, [&](const auto& subject) { return subject.second.contains(task); });
    if (all_have) shared.push_back(task);
  }
  return shared;
}

Estimate score_of(const TaskScores& scores, const std::vector<std::string>& tasks) {
  std::vector<ClusteredScores> chosen;
  Estimate out;
  std::int64_t n_clusters = 0;
  for (const std::string& task : tasks) {
    const ClusteredScores& of_task = chosen.emplace_back(scores.at(task));
    const std::set<std::string> clusters(of_task.clusters.begin(), of_task.clusters.end());
    out.n += static_cast<std::int64_t>(of_task.scores.size());
    n_clusters += static_cast<std::int64_t>(clusters.size());
  }
  const LengthScore score = length_score(chosen, 0);
  const Interval wilson = wilson_mean_interval(std::clamp(score.mean, 0.0, 1.0), n_clusters);
  out.value = score.mean;
  out.interval = {std::min(score.interval.low, wilson.low),
                  std::max(score.interval.high, wilson.high)};
  return out;
}

std::string basis_of(const Analysis& analysis, const SpeedRow& row) {
  std::set<std::string> parts;
  for (const std::size_t i : row.cells) {
    const CellRecord& cell = analysis.results->cells[i];
    parts.insert(cell.kind + " " + (cell.task.empty() ? work_name(cell) : task_label(cell)));
    for (const RunRecord& run : cell.runs) {
      parts.insert(surroundings_of(analysis.results->environments[run.environment]));
    }
  }
  std::string basis;
  for (const std::string& part : parts) basis += part + "\n";
  return basis;
}

/// Which of two intervals lies lower, which is better; open where they meet.
Standing lower_of(const Interval& first, const Interval& second) {
  if (first.high < second.low) return Standing::first;
  return second.high < first.low ? Standing::second : Standing::open;
}

Standing lower_of(double first, double second) {
  if (first == second) return Standing::equal;
  return first < second ? Standing::first : Standing::second;
}

ParetoOutcome outcome_of(const std::vector<ParetoAxis>& axes) {
  const auto count = [&](Standing standing) {
    return static_cast<std::size_t>(std::ranges::count(axes, standing, &ParetoAxis::better));
  };
  const std::size_t first = count(Standing::first);
  const std::size_t second = count(Standing::second);
  const std::size_t told_apart = axes.size() - count(Standing::equal);
  if (first == told_apart) return ParetoOutcome::first_dominates;
  if (second == told_apart) return ParetoOutcome::second_dominates;
  return first > 0 && second > 0 ? ParetoOutcome::trade_off : ParetoOutcome::undecided;
}

ParetoPair pair_of(const std::vector<ParetoPoint>& points, std::size_t first, std::size_t second) {
  const ParetoPoint& a = points[first];
  const ParetoPoint& b = points[second];
  ParetoPair pair{.first = first, .second = second};
  if (a.basis != b.basis) {
    pair.outcome = ParetoOutcome::not_compared;
    return pair;
  }
  const auto misses = [](const Estimate& score) {
    return Interval{1 - score.interval.high, 1 - score.interval.low};
  };
  pair.axes.push_back({"accuracy", lower_of(misses(a.score), misses(b.score))});
  pair.axes.push_back({"time to first token", lower_of(a.ttft_ns.interval, b.ttft_ns.interval)});
  if (a.decode_ns && b.decode_ns) {
    pair.axes.push_back({"decode time", lower_of(a.decode_ns->interval, b.decode_ns->interval)});
  }
  if (a.peak_bytes && b.peak_bytes) {
    pair.axes.push_back({"memory", lower_of(*a.peak_bytes, *b.peak_bytes)});
  }
  pair.outcome = outcome_of(pair.axes);
  return pair;
}

}  // namespace

std::vector<ParetoLength> find_pareto(const Analysis& analysis) {
  std::vector<ParetoLength> out;
  auto scores = gather_scores(analysis);
  for (auto& [length, by_subject] : scores) {
    std::erase_if(by_subject, [&, at = length](const auto& subject) {
      const SpeedRow* row = analysis.speed_at(subject.first, at);
      return row == nullptr || !row->ttft_ns;
    });
    if (by_subject.empty()) continue;
    const std::vector<std::string> tasks = shared_tasks(by_subject);
    if (tasks.empty()) continue;
    ParetoLength& entry = out.emplace_back();
    entry.length = length;
    entry.n_tasks = tasks.size();
    for (const auto& [subject, of_subject] : by_subject) {
      const SpeedRow& row = *analysis.speed_at(subject, length);
      entry.points.push_back({.subject = subject,
                              .score = score_of(of_subject, tasks),
                              .ttft_ns = *row.ttft_ns,
                              .decode_ns = row.decode_ns,
                              .peak_bytes = row.peak_bytes,
                              .basis = basis_of(analysis, row)});
    }
    for (std::size_t b = 1; b < entry.points.size(); ++b) {
      for (std::size_t a = 0; a < b; ++a) entry.pairs.push_back(pair_of(entry.points, a, b));
    }
  }
  return out;
}

}  // namespace sala
