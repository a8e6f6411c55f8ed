// How often each subject was right, and on which prompts they differ.
// SPDX-License-Identifier: Apache-2.0
#include "reports/analysis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

namespace sala {
namespace {

using AnswerList = std::vector<const AnswerRecord*>;

std::optional<Accuracy> accuracy_of(const AnswerList& answers) {
  if (answers.empty()) return std::nullopt;
  ClusteredScores scores;
  for (const AnswerRecord* answer : answers) {
    scores.scores.push_back(answer->score);
    scores.clusters.push_back(answer->cluster);
  }
  return estimate_accuracy(scores);
}

bool failed(const AnswerRecord& answer) {
  return answer.error_class == "run_failed";
}

AnswerStats stats_of(const AnswerList& answers) {
  AnswerStats stats;
  for (const AnswerRecord* answer : answers) {
    if (stats.n == 0 || answer->prompt_tokens < stats.min_prompt_tokens) {
      stats.min_prompt_tokens = answer->prompt_tokens;
    }
    stats.max_prompt_tokens = std::max(stats.max_prompt_tokens, answer->prompt_tokens);
    ++stats.n;
    stats.n_empty += answer->error_class == "empty" ? 1 : 0;
    stats.n_at_limit += answer->finish == "length" ? 1 : 0;
    stats.n_failed += failed(*answer) ? 1 : 0;
    stats.n_cut += answer->detail.find("prompt_tokens_left_out") != std::string::npos ? 1 : 0;
    stats.mean_new_tokens += static_cast<double>(answer->n_out);
    stats.mean_prompt_tokens += static_cast<double>(answer->prompt_tokens);
  }
  if (stats.n > 0) {
    stats.mean_new_tokens /= static_cast<double>(stats.n);
    stats.mean_prompt_tokens /= static_cast<double>(stats.n);
  }
  return stats;
}

using Pairs = std::vector<std::pair<const AnswerRecord*, const AnswerRecord*>>;

Pairs pairs_of(const AnswerList& first, const AnswerList& second) {
  std::map<std::pair<std::int64_t, std::int64_t>, const AnswerRecord*> by_prompt;
  for (const AnswerRecord* answer : second) by_prompt[{answer->prompt, answer->repeat}] = answer;
  Pairs pairs;
  for (const AnswerRecord* answer : first) {
    const auto it = by_prompt.find({answer->prompt, answer->repeat});
    if (it != by_prompt.end()) pairs.emplace_back(answer, it->second);
  }
  return pairs;
}

std::optional<PairedDifference> difference_of(const Pairs& pairs) {
  if (pairs.empty()) return std::nullopt;
  std::vector<double> first;
  std::vector<double> second;
  std::vector<std::string> clusters;
  for (const auto& [a, b] : pairs) {
    first.push_back(a->score);
    second.push_back(b->score);
    clusters.push_back(a->cluster);
  }
  return compare_paired(first, second, clusters);
}

Overall overall_of(const Pairs& pairs) {
  Overall out;
  out.paired = difference_of(pairs);
  for (const auto& [first, second] : pairs) {
    out.first += first->score / static_cast<double>(pairs.size());
    out.second += second->score / static_cast<double>(pairs.size());
  }
  return out;
}

/// Answers by subject of one row.
using SubjectAnswers = std::vector<AnswerList>;

template <typename Row>
void fill(const Analysis& analysis, const SubjectAnswers& answers, Row& row) {
  for (const AnswerList& list : answers) row.accuracy.push_back(accuracy_of(list));
  if (analysis.pair) {
    row.paired =
        difference_of(pairs_of(answers[analysis.pair->first], answers[analysis.pair->second]));
  }
}

void fill_accuracy_table(Analysis& analysis) {
  std::map<std::pair<std::string, std::int64_t>, SubjectAnswers> answers;
  std::map<std::pair<std::string, std::int64_t>, std::vector<std::string>> status;
  std::vector<std::string> task_order;
  for (const std::size_t i : analysis.cells) {
    const CellRecord& cell = analysis.results->cells[i];
    if (cell.kind != "accuracy" || is_perplexity(cell)) continue;
    const std::string task = task_label(cell);
    if (std::find(task_order.begin(), task_order.end(), task) == task_order.end()) {
      task_order.push_back(task);
    }
    const auto key = std::pair{task, cell.context_len};
    SubjectAnswers& lists = answers[key];
    lists.resize(analysis.subjects.size());
    status[key].resize(analysis.subjects.size());
    const std::size_t subject = analysis.subject_of_cell[i];
    for (const AnswerRecord& answer : cell.answers) lists[subject].push_back(&answer);
    std::string& state = status[key][subject];
    if (state.empty() || state == "ok") state = cell.status;
  }
  AnswerList all_first;
  AnswerList all_second;
  for (const std::string& task : task_order) {
    for (const std::int64_t length : analysis.lengths) {
      const auto it = answers.find({task, length});
      if (it == answers.end()) continue;
      AccuracyRow& row = analysis.accuracy.emplace_back();
      row.task = task;
      row.length = length;
      row.status = status[{task, length}];
      for (const AnswerList& list : it->second) row.answers.push_back(stats_of(list));
      fill(analysis, it->second, row);
      if (!analysis.pair) continue;
      const AnswerList& first = it->second[analysis.pair->first];
      const AnswerList& second = it->second[analysis.pair->second];
      all_first.insert(all_first.end(), first.begin(), first.end());
      all_second.insert(all_second.end(), second.begin(), second.end());
      for (const auto& [a, b] : pairs_of(first, second)) {
        if (a->correct != b->correct && !failed(*a) && !failed(*b))
          analysis.flips.push_back({task, length, a, b});
      }
    }
  }
  adjust_p_values(analysis.accuracy);
  Pairs shared = pairs_of(all_first, all_second);
  analysis.overall = overall_of(shared);
  analysis.overall.n_unpaired =
      static_cast<std::int64_t>(all_first.size() + all_second.size() - 2 * shared.size());
  std::erase_if(shared, [](const auto& p) { return failed(*p.first) || failed(*p.second); });
  analysis.overall_answered = overall_of(shared);
}

/// Bands around 0, 10, ... 100 %, or around 0, 25, ... 100 % where prompts are few. Planned depths
/// are multiples of ten and lie away from every edge.
void fill_grid(Analysis& analysis) {
  std::map<std::int64_t, SubjectAnswers> by_length;
  for (const std::size_t i : analysis.cells) {
    const CellRecord& cell = analysis.results->cells[i];
    if (cell.kind != "accuracy") continue;
    for (const AnswerRecord& answer : cell.answers) {
      if (!answer.depth_pct || failed(answer)) continue;
      SubjectAnswers& lists = by_length[cell.context_len];
      lists.resize(analysis.subjects.size());
      lists[analysis.subject_of_cell[i]].push_back(&answer);
    }
  }
  std::size_t largest = 0;
  for (const auto& [length, lists] : by_length) {
    for (const AnswerList& list : lists) largest = std::max(largest, list.size());
  }
  const int step = largest >= 110 ? 10 : 25;
  for (const auto& [length, lists] : by_length) {
    std::map<int, SubjectAnswers> bands;
    for (std::size_t s = 0; s < lists.size(); ++s) {
      for (const AnswerRecord* answer : lists[s]) {
        const int band = step * static_cast<int>(std::lround(*answer->depth_pct / step));
        bands[band].resize(lists.size());
        bands[band][s].push_back(answer);
      }
    }
    for (const auto& [depth, inside] : bands) {
      GridRow& row = analysis.grid.emplace_back();
      row.depth = depth;
      row.length = length;
      fill(analysis, inside, row);
    }
  }
  adjust_p_values(analysis.grid);
}

}  // namespace

void analyse_accuracy(Analysis& analysis) {
  fill_accuracy_table(analysis);
  fill_grid(analysis);
  analysis.error_classes.resize(analysis.subjects.size());
  for (const std::size_t i : analysis.cells) {
    const CellRecord& cell = analysis.results->cells[i];
    for (const AnswerRecord& answer : cell.answers) {
      if (answer.correct || is_perplexity(cell) || cell.kind == "fidelity") continue;
      ++analysis.error_classes[analysis.subject_of_cell[i]][answer.error_class];
    }
    if (cell.status != "ok") analysis.failures.push_back(i);
  }
}

std::string task_mode(const CellRecord& cell) {
  return nlohmann::json::parse(cell.task_params).value("mode", "strict");
}

std::string task_label(const CellRecord& cell) {
  const std::string mode = task_mode(cell);
  return mode == "strict" ? cell.task : cell.task + "/" + mode;
}

bool is_perplexity(const CellRecord& cell) {
  return cell.scorer == "perplexity";
}

const SpeedRow* Analysis::speed_at(std::size_t subject, std::int64_t length) const {
  for (const SpeedRow& row : speed) {
    if (row.subject == subject && row.length == length) return &row;
  }
  return nullptr;
}

Analysis analyse(const Results& results) {
  Analysis analysis;
  analysis.results = &results;
  find_subjects(analysis);
  analyse_accuracy(analysis);
  analyse_lengths(analysis);
  analyse_perplexity(analysis);
  analyse_speed(analysis);
  analyse_crossovers(analysis);
  write_verdict(analysis);
  return analysis;
}

}  // namespace sala
