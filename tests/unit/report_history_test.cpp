// History over runs: which series there are, where they step, and what the section says of it.
// SPDX-License-Identifier: Apache-2.0
#include "reports/history.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "reports/document.h"
#include "tests/history_fixture.h"

namespace sala {
namespace {

const HistorySeries* find(const std::vector<HistorySeries>& history, HistoryMetric metric,
                          std::int64_t length, std::size_t subject) {
  for (const HistorySeries& series : history) {
    if (series.metric == metric && series.length == length && series.subject == subject) {
      return &series;
    }
  }
  return nullptr;
}

const Section* history_of(const Document& document) {
  for (const Section& section : document.sections) {
    if (section.id == "history") return &section;
  }
  return nullptr;
}

TEST(report_history, every_step_that_was_planted_is_found_and_no_other) {
  const Results results = history_results();
  const Analysis analysis = analyse(results);
  EXPECT_GT(analysis.superseded, 0U);  // the report proper shows the newest sweep alone
  const auto history = find_history(analysis);
  EXPECT_EQ(history.size(), 14U);
  std::size_t n_steps = 0;
  for (const HistorySeries& series : history) {
    EXPECT_EQ(series.runs.size(), static_cast<std::size_t>(kHistoryBuilds));
    n_steps += series.changes.size();
  }
  EXPECT_EQ(n_steps, 4U);
  const HistorySeries* ttft = find(history, HistoryMetric::ttft, 65536, 0);
  ASSERT_EQ(ttft->changes.size(), 1U);
  EXPECT_EQ(ttft->changes[0].at, static_cast<std::size_t>(kSlowerFrom));
  EXPECT_NEAR(ttft->changes[0].after / ttft->changes[0].before, 1.06, 0.003);
  EXPECT_NEAR(ttft->changes[0].before, 65536 * 6e5, 65536 * 6e5 * 0.003);
  const HistorySeries* peak = find(history, HistoryMetric::peak, 16384, 0);
  ASSERT_EQ(peak->changes.size(), 1U);
  EXPECT_EQ(peak->changes[0].at, static_cast<std::size_t>(kSmallerFrom));
  const HistorySeries* accuracy = find(history, HistoryMetric::accuracy, 16384, 0);
  ASSERT_EQ(accuracy->changes.size(), 1U);
  EXPECT_EQ(accuracy->changes[0].at, static_cast<std::size_t>(kLessRightFrom));
  EXPECT_DOUBLE_EQ(accuracy->changes[0].before, 0.9);
  EXPECT_DOUBLE_EQ(accuracy->changes[0].after, 0.7);
}

TEST(report_history, a_point_is_the_median_of_the_runs_raw_samples) {
  Results results = history_results();
  const auto cell = std::ranges::find(results.cells, "perf", &CellRecord::kind);
  for (ValueRecord& value : cell->values) {
    if (value.metric == "ttft_ns")
      value.value = value.rep == 4 ? 900 : 100 + static_cast<double>(value.rep);
  }
  const auto history = find_history(analyse(results));
  const HistorySeries* series = find(history, HistoryMetric::ttft, 16384, 0);
  EXPECT_DOUBLE_EQ(series->runs[0].value, 102);
  EXPECT_EQ(series->runs[0].n, 5);
}

TEST(report_history, runs_of_another_machine_or_other_settings_are_another_series) {
  Results results = history_results();
  results.environments[3].cpu_model = "Another CPU";
  for (CellRecord& cell : results.cells) {
    if (cell.sweep == 4) cell.params = R"({"device_name":"Imaginary CPU 9000","chunk":1})";
  }
  const auto history = find_history(analyse(results));
  std::vector<std::size_t> sizes;
  for (const HistorySeries& series : history) {
    if (series.metric == HistoryMetric::accuracy && series.subject == 0) {
      sizes.push_back(series.runs.size());
    }
  }
  std::ranges::sort(sizes);
  EXPECT_EQ(sizes, (std::vector<std::size_t>{1, 1, kHistoryBuilds - 2}));
}

TEST(report_history, unfinished_cells_and_mixed_surroundings_are_left_out) {
  Results results = history_results();
  results.environments.push_back(results.environments[0]);
  results.environments.back().kernel = "Linux 6.2";
  for (CellRecord& cell : results.cells) {
    if (cell.sweep == 2) cell.status = "killed";
    if (cell.sweep != 3) continue;
    cell.runs.push_back(cell.runs.front());
    cell.runs.back().environment = results.environments.size() - 1;
  }
  const auto history = find_history(analyse(results));
  for (const HistorySeries& series : history) {
    EXPECT_EQ(series.runs.size(), static_cast<std::size_t>(kHistoryBuilds - 2));
    EXPECT_TRUE(std::ranges::is_sorted(series.runs, {}, &HistoryRun::sweep));
  }
}

TEST(report_history, the_section_names_when_what_and_how_much) {
  const Results results = history_results();
  const Document document = make_document(analyse(results));
  const Section* section = history_of(document);
  ASSERT_NE(section, nullptr);
  const Table& steps = section->tables.at(0);
  ASSERT_EQ(steps.rows.size(), 4U);
  EXPECT_EQ(steps.rows[0][0], "time to first token");
  EXPECT_EQ(steps.rows[0][4], "2023-11-22 22:13 UTC");
  EXPECT_EQ(steps.rows[0][5], results.environments[kSlowerFrom].git_commit.substr(0, 12));
  EXPECT_EQ(steps.rows[0].back(), "\u25BC worse");
  EXPECT_EQ(steps.rows[1][8], "\u221210.0 %");
  EXPECT_EQ(steps.rows[1].back(), "\u25B2 better");
  EXPECT_EQ(steps.rows[3][8], "\u221220.0 points");
  EXPECT_EQ(section->tables.at(1).rows.size(), 14U);
  ASSERT_EQ(section->figures.size(), 7U);
  EXPECT_NE(section->figures[0].finding.find("\u221220.0 points"), std::string::npos);
  for (const Figure& figure : section->figures) {
    EXPECT_TRUE(nlohmann::json::accept(figure.spec)) << figure.title;
  }
}

TEST(report_history, fewer_than_six_runs_make_no_section_and_say_so_beside_longer_series) {
  Results results = history_results();
  std::erase_if(results.cells, [](const CellRecord& cell) { return cell.sweep >= 5; });
  EXPECT_EQ(history_of(make_document(analyse(results))), nullptr);
  results = history_results();
  std::erase_if(results.cells,
                [](const CellRecord& cell) { return cell.kind == "accuracy" && cell.sweep >= 5; });
  const Document document = make_document(analyse(results));
  const Section* section = history_of(document);
  ASSERT_NE(section, nullptr);
  const auto& rows = section->tables.back().rows;
  EXPECT_EQ(
      std::ranges::count_if(rows, [](const auto& row) { return row.back() == "too few runs"; }), 2);
}

}  // namespace
}  // namespace sala
