// Section on the mean over tasks by length, and on RULER's aggregates.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/ranges.h>

#include <algorithm>

#include "harness/compare/ruler_summary.h"
#include "reports/charts.h"
#include "reports/document.h"
#include "reports/format.h"

namespace sala {
namespace {

std::string effective_text(const std::vector<RulerLengthScore>& lengths, RulerRule rule) {
  const auto length = ruler_effective_length(lengths, rule);
  return length ? length_text(*length) : "below " + length_text(lengths.front().length);
}

/// RULER's aggregates of a subject in a mode; empty unless some length has all 13 tasks.
std::string ruler_text(const Analysis& analysis, std::size_t subject, const std::string& mode) {
  std::vector<RulerLengthScore> lengths;
  for (const LengthRow& row : analysis.length_scores) {
    if (row.subject == subject && row.mode == mode && row.is_ruler) {
      lengths.push_back({row.length, 100 * row.score.mean});
    }
  }
  if (lengths.empty()) return "";
  return fmt::format(
      "RULER ({} prompts), {}: average {:.1f}, weighted towards long {:.1f}, towards short {:.1f} "
      "over {} "
      "lengths; effective length {} as published, {} if every shorter length has to pass as well.",
      mode, analysis.subjects[subject].label, ruler_average(lengths),
      ruler_weighted_average(lengths, RulerWeights::increasing),
      ruler_weighted_average(lengths, RulerWeights::decreasing), lengths.size(),
      effective_text(lengths, RulerRule::published), effective_text(lengths, RulerRule::strict));
}

/// How many tasks, and what a run of RULER lacks of its 13: a length without one has no score.
std::string tasks_text(const LengthRow& row) {
  if (row.is_ruler) return fmt::format("{} (RULER)", row.n_tasks);
  // Suites of needles have some of these tasks, too.
  const bool is_partial = row.ruler_missing.size() <= kRulerTasks.size() / 3;
  return is_partial ? fmt::format("{} (no RULER score: without {})", row.n_tasks,
                                  fmt::join(row.ruler_missing, ", "))
                    : fmt::format("{}", row.n_tasks);
}

/// Distance from the threshold in standard errors of the bootstrap.
std::string margin_text(const LengthScore& score) {
  const double error = (score.interval.high - score.interval.low) / (2 * 1.96);
  const double margin = score.mean - kRulerThreshold / 100;
  return error > 0 ? fmt::format("{:+.1f}", margin / error) : "\u2014";
}

}  // namespace

Section lengths_section(const Analysis& analysis) {
  Section section{"lengths", "Mean over tasks by length", {}, {}, {}, {}};
  if (analysis.length_scores.empty()) return section;
  section.paragraphs.push_back(fmt::format(
      "Unweighted mean of the tasks' scores; intervals by a bootstrap over clusters within each "
      "task, 95\u00a0%. {} is the score from which RULER calls a length effective. P(reaches) is "
      "the "
      "share of replicates at or above it, P(effective) that of this and every shorter length; "
      "the margin is counted in standard errors. A bootstrap knows nothing of errors that no "
      "prompt showed: with few prompts both are too sure. With other tasks than RULER's 13 the "
      "same rule applies to their mean.",
      kRulerThreshold));
  for (std::size_t s = 0; s < analysis.subjects.size(); ++s) {
    for (const char* mode : {"official", "strict"}) {
      if (std::string text = ruler_text(analysis, s, mode); !text.empty()) {
        section.paragraphs.push_back(std::move(text));
      }
    }
  }
  section.figures.push_back({"Mean over tasks", "", length_score_chart(analysis), 1, true});
  Table table;
  table.caption = "Mean score over tasks in % by length";
  table.columns = {{"subject", false},      {"prompts", false},   {"length", true},
                   {"tasks", true},         {"n", true},          {"mean", true},
                   {"95 % interval", true}, {"margin, SE", true}, {"P(reaches)", true},
                   {"P(effective)", true}};
  for (const LengthRow& row : analysis.length_scores) {
    table.rows.push_back({analysis.subjects[row.subject].label, row.mode, length_text(row.length),
                          tasks_text(row), fmt::format("{}", row.n), percent_text(row.score.mean),
                          percent_interval_text(row.score.interval), margin_text(row.score),
                          fmt::format("{:.3f}", row.score.p_reaches),
                          fmt::format("{:.3f}", row.p_effective)});
  }
  section.tables.push_back(std::move(table));
  return section;
}

}  // namespace sala
