// Sections on accuracy: the needle map, tasks by length, kinds of errors, changed answers.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "reports/charts.h"
#include "reports/document.h"
#include "reports/format.h"

namespace sala {
namespace {

constexpr std::size_t kMaxFlips = 30;
constexpr std::size_t kMaxAnswerBytes = 160;

std::string accuracy_text(const std::optional<Accuracy>& accuracy) {
  if (!accuracy) return "\u2014";
  return fmt::format("{} [{}] n={}", percent_text(accuracy->mean),
                     percent_interval_text(accuracy->interval), accuracy->n);
}

std::string difference_text(const PairedDifference& paired) {
  return fmt::format("{} [{} to {}]", points_text(paired.difference),
                     points_text(paired.interval.low), points_text(paired.interval.high));
}

/// A word and a sign for a paired row, so that nothing rests on colour.
std::string verdict_text(const PairedDifference& paired) {
  switch (verdict_of(paired)) {
    case Verdict::better:
      return "\u25B2 better";
    case Verdict::worse:
      return "\u25BC worse";
    case Verdict::same:
      return "= same";
    case Verdict::none:
    case Verdict::undecided:
      break;
  }
  return fmt::format("? undecided, n\u2248{}", paired.samples_needed());
}

void add_pair_columns(const Analysis& analysis, Table& table) {
  if (!analysis.pair) return;
  table.columns.push_back({"difference, points [95 %]", true});
  table.columns.push_back({"only first / only second right", true});
  table.columns.push_back({"p (Holm)", true});
  table.columns.push_back({"n pairs find, points", true});
  table.columns.push_back({"verdict, n that would tell", false});
}

void add_pair_cells(const Analysis& analysis, const std::optional<PairedDifference>& paired,
                    std::vector<std::string>& row) {
  if (!analysis.pair) return;
  if (!paired) {
    row.insert(row.end(), {"\u2014", "\u2014", "\u2014", "\u2014", ""});
    return;
  }
  row.push_back(difference_text(*paired));
  row.push_back(fmt::format("{} / {}", paired->only_first, paired->only_second));
  row.push_back(p_text(paired->p_holm));
  const double detectable = 100 * paired->detectable();
  row.push_back(detectable > 100 ? fmt::format("{} find none", paired->n)
                                 : fmt::format("{} find {:.1f}", paired->n, detectable));
  row.push_back(verdict_text(*paired));
}

std::string needle_finding(const Analysis& analysis, std::size_t subject) {
  const GridRow* worst = nullptr;
  std::int64_t n = 0;
  for (const GridRow& row : analysis.grid) {
    if (!row.accuracy[subject]) continue;
    n += row.accuracy[subject]->n;
    if (worst == nullptr || row.accuracy[subject]->mean < worst->accuracy[subject]->mean) {
      worst = &row;
    }
  }
  if (worst == nullptr) return "No prompts.";
  const Accuracy& accuracy = *worst->accuracy[subject];
  return fmt::format("Lowest square: {}\u00a0% of {} at {} tokens, depth {}\u00a0%; n={} in all.",
                     percent_text(accuracy.mean), accuracy.n, length_text(worst->length),
                     worst->depth, n);
}

// RULER's own generators shuffle every sample of a length alike.
constexpr std::array kOnePattern{"cwe/official", "fwe/official", "qa_1/official", "qa_2/official"};

/// Tasks whose prompts of a length are all of one cluster or one pattern.
std::string one_cluster_text(const Analysis& analysis) {
  std::set<std::string> tasks;
  for (const AccuracyRow& row : analysis.accuracy) {
    if (std::find(kOnePattern.begin(), kOnePattern.end(), row.task) != kOnePattern.end()) {
      tasks.insert(row.task);
    }
    for (const auto& accuracy : row.accuracy) {
      if (accuracy && accuracy->n > 1 && accuracy->n_clusters == 1) tasks.insert(row.task);
    }
  }
  if (tasks.empty()) return "";
  return fmt::format(
      "All prompts of a length share one passage or one pattern of positions in {}: how much the "
      "score varies between such patterns was not measured, and the interval leaves it out.",
      fmt::join(tasks, ", "));
}

/// What stands behind each score besides the score.
Table answers_table(const Analysis& analysis) {
  Table table;
  table.caption = "Answers behind the scores";
  table.columns = {{"task", false},
                   {"length", true},
                   {"subject", false},
                   {"n", true},
                   {"clusters", true},
                   {"empty", true},
                   {"at token limit", true},
                   {"failed", true},
                   {"prompts cut", true},
                   {"new tokens, mean", true},
                   {"prompt tokens, min / mean / max", true}};
  table.folded = true;
  for (const AccuracyRow& row : analysis.accuracy) {
    for (std::size_t s = 0; s < row.answers.size(); ++s) {
      const AnswerStats& stats = row.answers[s];
      if (stats.n == 0) continue;
      const bool many_at_limit = 20 * stats.n_at_limit > stats.n;
      table.rows.push_back({row.task, length_text(row.length), analysis.subjects[s].label,
                            fmt::format("{}", stats.n),
                            fmt::format("{}", row.accuracy[s]->n_clusters),
                            fmt::format("{}", stats.n_empty),
                            fmt::format("{}{}", stats.n_at_limit, many_at_limit ? " \u26A0" : ""),
                            fmt::format("{}", stats.n_failed),
                            fmt::format("{}{}", stats.n_cut, stats.n_cut > 0 ? " \u26A0" : ""),
                            fmt::format("{:.1f}", stats.mean_new_tokens),
                            fmt::format("{} / {:.0f} / {}", stats.min_prompt_tokens,
                                        stats.mean_prompt_tokens, stats.max_prompt_tokens)});
    }
  }
  return table;
}

Table flips_table(const Analysis& analysis) {
  const auto [first, second] = *analysis.pair;
  Table table;
  table.caption =
      fmt::format("Answers that only one of the two got right{}",
                  analysis.flips.size() > kMaxFlips
                      ? fmt::format(" (first {} of {}; all of them are in the CSV export)",
                                    kMaxFlips, analysis.flips.size())
                      : "");
  table.columns = {{"task", false},
                   {"length", true},
                   {"sample", true},
                   {"expected", false},
                   {analysis.subjects[first].label, false},
                   {analysis.subjects[second].label, false}};
  table.folded = true;
  const auto shown = [](const AnswerRecord& answer) {
    return fmt::format("{} {}", answer.correct ? "\u2713" : "\u2717 " + answer.error_class + ":",
                       plain_text(answer.output, kMaxAnswerBytes));
  };
  for (std::size_t i = 0; i < std::min(analysis.flips.size(), kMaxFlips); ++i) {
    const Flip& flip = analysis.flips[i];
    table.rows.push_back({flip.task, length_text(flip.length),
                          fmt::format("{}", flip.first->sample_index),
                          plain_text(flip.first->references, kMaxAnswerBytes), shown(*flip.first),
                          shown(*flip.second)});
  }
  return table;
}

Table error_table(const Analysis& analysis) {
  std::set<std::string> classes;
  for (const auto& counts : analysis.error_classes) {
    for (const auto& [name, count] : counts) classes.insert(name);
  }
  Table table;
  table.caption = "Wrong answers by class";
  table.columns = {{"class", false}};
  for (const Subject& subject : analysis.subjects) table.columns.push_back({subject.label, true});
  for (const std::string& name : classes) {
    std::vector<std::string>& row = table.rows.emplace_back();
    row.push_back(name);
    for (const auto& counts : analysis.error_classes) {
      const auto it = counts.find(name);
      row.push_back(fmt::format("{}", it == counts.end() ? 0 : it->second));
    }
  }
  return table;
}

}  // namespace

Section needle_section(const Analysis& analysis) {
  Section section{"needle", "Needle map", {}, {}, {}, {}};
  if (analysis.grid.empty()) return section;
  section.paragraphs.push_back(
      "Share of prompts answered right by where the needle lies and how long the context is, over "
      "every task that places a needle, depths rounded to the nearest step. Squares print "
      "right/asked; a dashed edge marks fewer than "
      "ten prompts, a solid edge a difference beyond chance (exact McNemar or sign-flip test, "
      "Holm-adjusted, 5 %).");
  const int columns = static_cast<int>(
      std::min<std::size_t>(3, analysis.subjects.size() + (analysis.pair ? 1 : 0)));
  for (std::size_t s = 0; s < analysis.subjects.size(); ++s) {
    section.figures.push_back({analysis.subjects[s].label, needle_finding(analysis, s),
                               needle_chart(analysis, s), columns});
  }
  if (analysis.pair) {
    section.figures.push_back({"Difference in points",
                               fmt::format("{} minus {}; above zero the first is better.",
                                           analysis.subjects[analysis.pair->first].label,
                                           analysis.subjects[analysis.pair->second].label),
                               needle_difference_chart(analysis), columns});
  }
  Table table;
  table.caption = "Accuracy in % by length and needle depth, with 95\u00a0% intervals";
  table.columns = {{"length", true}, {"depth", true}};
  for (const Subject& subject : analysis.subjects) table.columns.push_back({subject.label, true});
  add_pair_columns(analysis, table);
  table.folded = true;
  for (const GridRow& row : analysis.grid) {
    std::vector<std::string>& cells = table.rows.emplace_back();
    cells.push_back(length_text(row.length));
    cells.push_back(fmt::format("{}\u00a0%", row.depth));
    for (const auto& accuracy : row.accuracy) cells.push_back(accuracy_text(accuracy));
    add_pair_cells(analysis, row.paired, cells);
  }
  section.tables.push_back(std::move(table));
  return section;
}

Section accuracy_section(const Analysis& analysis) {
  Section section{"accuracy", "Accuracy by task and length", {}, {}, {}, {}};
  if (analysis.accuracy.empty()) return section;
  section.paragraphs.push_back(
      "Mean score in %, with its 95\u00a0% interval: Wilson for tasks scored right or wrong, a "
      "bootstrap over clusters of prompts where a score can lie between or prompts share a passage "
      "or a pattern of positions. Prompts that failed to run count as misses. Differences are "
      "paired on equal prompts: exact McNemar test for right or wrong, sign-flip test over "
      "clusters otherwise, p adjusted after Holm over the table. \"n find d\": the smallest true "
      "difference that so many pairs find with 80\u00a0% power at the 5\u00a0% level.");
  if (const std::string clusters = one_cluster_text(analysis); !clusters.empty()) {
    section.paragraphs.push_back(clusters);
  }
  std::set<std::string> drawn;
  for (const AccuracyRow& row : analysis.accuracy) {
    if (!drawn.insert(row.task).second) continue;
    section.figures.push_back({row.task, "", accuracy_chart(analysis, row.task), 3, true});
  }
  Table table;
  table.caption = "Accuracy in % by task and length";
  table.columns = {{"task", false}, {"length", true}};
  for (const Subject& subject : analysis.subjects) table.columns.push_back({subject.label, true});
  add_pair_columns(analysis, table);
  for (const AccuracyRow& row : analysis.accuracy) {
    std::vector<std::string>& cells = table.rows.emplace_back();
    cells.push_back(row.task);
    cells.push_back(length_text(row.length));
    for (std::size_t s = 0; s < row.accuracy.size(); ++s) {
      std::string text = accuracy_text(row.accuracy[s]);
      if (!row.status[s].empty() && row.status[s] != "ok") text += " \u2715 " + row.status[s];
      cells.push_back(std::move(text));
    }
    add_pair_cells(analysis, row.paired, cells);
  }
  section.tables.push_back(std::move(table));
  for (Table& details : detail_tables(analysis)) section.tables.push_back(std::move(details));
  section.tables.push_back(answers_table(analysis));
  Table errors = error_table(analysis);
  if (!errors.rows.empty()) section.tables.push_back(std::move(errors));
  if (!analysis.flips.empty()) section.tables.push_back(flips_table(analysis));
  return section;
}

}  // namespace sala
