// Who dominates whom: only beyond every interval, on equal tasks, times and surroundings.
// SPDX-License-Identifier: Apache-2.0
#include "reports/pareto.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "reports/document.h"
#include "tests/history_fixture.h"

namespace sala {
namespace {

/// The newest sweep of the fixture with `right` of 40 answers for each subject at 16,384 tokens.
Results results_with(int hybrid_right, int full_right) {
  Results results = history_results();
  std::erase_if(results.cells, [](const CellRecord& cell) {
    return cell.sweep + 1 < kHistoryBuilds || cell.context_len != 16384;
  });
  for (CellRecord& cell : results.cells) {
    for (AnswerRecord& answer : cell.answers) {
      answer.correct = answer.sample_index < (cell.mode == "hybrid" ? hybrid_right : full_right);
      answer.score = answer.correct ? 1 : 0;
      answer.error_class = answer.correct ? "" : "miss";
    }
  }
  return results;
}

ParetoLength only_length(const Results& results) {
  const auto lengths = find_pareto(analyse(results));
  EXPECT_EQ(lengths.size(), 1U);
  return lengths.at(0);
}

Standing standing(const ParetoPair& pair, std::string_view name) {
  for (const ParetoAxis& axis : pair.axes) {
    if (axis.name == name) return axis.better;
  }
  ADD_FAILURE() << name;
  return Standing::open;
}

TEST(report_pareto, better_on_every_axis_beyond_the_intervals_is_to_dominate) {
  const ParetoLength length = only_length(results_with(38, 10));
  ASSERT_EQ(length.pairs.size(), 1U);
  EXPECT_EQ(length.pairs[0].outcome, ParetoOutcome::first_dominates);
  EXPECT_EQ(length.pairs[0].axes.size(), 4U);
  EXPECT_DOUBLE_EQ(length.points[0].score.value, 0.95);
  EXPECT_EQ(length.points[0].score.n, 40);
}

TEST(report_pareto, scores_whose_intervals_meet_leave_it_undecided) {
  const ParetoLength length = only_length(results_with(38, 36));
  EXPECT_EQ(standing(length.pairs[0], "accuracy"), Standing::open);
  EXPECT_EQ(standing(length.pairs[0], "time to first token"), Standing::first);
  EXPECT_EQ(length.pairs[0].outcome, ParetoOutcome::undecided);
}

TEST(report_pareto, more_right_answers_against_less_time_is_a_trade_off) {
  const ParetoLength length = only_length(results_with(10, 38));
  EXPECT_EQ(standing(length.pairs[0], "accuracy"), Standing::second);
  EXPECT_EQ(length.pairs[0].outcome, ParetoOutcome::trade_off);
}

TEST(report_pareto, the_order_of_the_two_does_not_matter) {
  Results results = results_with(38, 10);
  for (CellRecord& cell : results.cells) {
    cell.params = cell.mode == "hybrid" ? R"({"prompt":"niah_single_2","side":"baseline"})"
                                        : R"({"prompt":"niah_single_2","side":"model"})";
  }
  EXPECT_EQ(only_length(results).pairs[0].outcome, ParetoOutcome::second_dominates);
}

TEST(report_pareto, times_whose_intervals_meet_leave_it_undecided) {
  Results results = results_with(38, 10);
  for (CellRecord& cell : results.cells) {
    for (ValueRecord& value : cell.values) {
      if (value.metric == "ttft_ns") value.value = 1e9 + 1e7 * static_cast<double>(value.rep);
    }
  }
  const ParetoPair pair = only_length(results).pairs[0];
  EXPECT_EQ(standing(pair, "time to first token"), Standing::open);
  EXPECT_EQ(pair.outcome, ParetoOutcome::undecided);
}

TEST(report_pareto, equal_bytes_stand_in_nobodys_way) {
  Results results = results_with(38, 10);
  for (CellRecord& cell : results.cells) {
    for (ValueRecord& value : cell.values) {
      if (value.metric == "device_peak_bytes") value.value = 1000;
    }
  }
  const ParetoPair pair = only_length(results).pairs[0];
  EXPECT_EQ(standing(pair, "memory"), Standing::equal);
  EXPECT_EQ(pair.outcome, ParetoOutcome::first_dominates);
}

TEST(report_pareto, few_equal_scores_are_not_certain) {
  Results results = results_with(40, 0);
  for (CellRecord& cell : results.cells) {
    if (cell.kind == "accuracy") cell.answers.resize(2);
  }
  const ParetoLength length = only_length(results);
  EXPECT_DOUBLE_EQ(length.points[0].score.value, 1);
  EXPECT_LT(length.points[0].score.interval.low, 0.4);  // Wilson of two of two: 0.34
  EXPECT_EQ(standing(length.pairs[0], "accuracy"), Standing::open);
}

TEST(report_pareto, times_of_other_work_or_from_another_machine_are_not_compared) {
  Results results = results_with(38, 10);
  for (CellRecord& cell : results.cells) {
    if (cell.mode == "full" && cell.kind == "perf") cell.params = R"({"prompt":"random ids"})";
  }
  EXPECT_EQ(only_length(results).pairs[0].outcome, ParetoOutcome::not_compared);
  results = results_with(38, 10);
  results.environments.push_back(results.environments.back());
  results.environments.back().cpu_model = "Another CPU";
  for (CellRecord& cell : results.cells) {
    if (cell.mode == "full") cell.runs.front().environment = results.environments.size() - 1;
  }
  EXPECT_EQ(only_length(results).pairs[0].outcome, ParetoOutcome::not_compared);
}

TEST(report_pareto, scores_cover_the_tasks_that_all_subjects_have) {
  Results results = results_with(38, 10);
  CellRecord extra = *std::ranges::find(results.cells, "accuracy", &CellRecord::kind);
  extra.task = "another task";
  for (AnswerRecord& answer : extra.answers) answer.score = 0;
  results.cells.push_back(extra);
  const ParetoLength length = only_length(results);
  EXPECT_EQ(length.n_tasks, 1U);
  EXPECT_DOUBLE_EQ(length.points[0].score.value, 0.95);
}

TEST(report_pareto, the_section_needs_two_points_at_a_length) {
  const auto has_section = [](const Results& results) {
    const Document document = make_document(analyse(results));
    return std::ranges::count(document.sections, "pareto", &Section::id) == 1;
  };
  Results results = results_with(38, 10);
  EXPECT_TRUE(has_section(results));
  std::erase_if(results.cells,
                [](const CellRecord& cell) { return cell.mode == "full" && cell.kind == "perf"; });
  EXPECT_FALSE(has_section(results));
}

TEST(report_pareto, the_table_says_who_dominates_whom) {
  const Document document = make_document(analyse(results_with(38, 10)));
  const auto section = std::ranges::find(document.sections, "pareto", &Section::id);
  ASSERT_NE(section, document.sections.end());
  EXPECT_EQ(section->tables[0].rows[0].back(), "toy-hybrid dominates toy-full");
  EXPECT_EQ(section->figures[0].finding, "toy-hybrid dominates toy-full.");
  const auto spec = nlohmann::json::parse(section->figures[0].spec);
  EXPECT_EQ(spec["data"]["values"].size(), 2U);
}

}  // namespace
}  // namespace sala
