// The fidelity section: what it shows, what it pools, and that it is absent where nothing is.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "reports/analysis.h"
#include "reports/document.h"

namespace sala {
namespace {

/// Prompts of one task at a length: layer 0 reads a tenth of the mass, layer 4 half of it.
CellRecord fidelity_cell(const std::string& task, std::int64_t length, std::int64_t n,
                         double needle_hit) {
  CellRecord cell;
  cell.cell_key = task + std::to_string(length);
  cell.kind = "fidelity";
  cell.mode = "hybrid";
  cell.backend = "cpu";
  cell.params = R"({"side":"model"})";
  cell.task = task;
  cell.context_len = length;
  cell.status = "ok";
  RunRecord run;
  run.uid = "u";
  run.status = "ok";
  cell.runs = {run};
  for (std::int64_t i = 0; i < n; ++i) {
    AnswerRecord answer;
    answer.prompt = length * 100 + i;
    answer.cluster = std::to_string(answer.prompt);
    answer.score = i == 0 ? 0 : 1;
    answer.correct = i != 0;
    answer.error_class = i == 0 ? "miss" : "";
    for (const int layer : {0, 4}) {
      for (const int head : {kAllHeads, 0, 1}) {
        SelectionRow row;
        row.layer = layer;
        row.head = head;
        row.part = "question";
        row.n_queries = 40;
        row.density = 0.25;
        row.mass_recall = layer == 0 ? 0.1 : 0.5;
        row.mass_oracle = 0.5;
        row.needle_hit = layer == 0 ? 0 : needle_hit;
        row.out_rel_l2 = 0.03;
        answer.fidelity.selection.push_back(row);
      }
    }
    DivergenceRow divergence;
    divergence.n_positions = 130;
    divergence.kld_mean = 0.002 * static_cast<double>(i);
    divergence.kld_max = 0.5;
    divergence.top1_agree = 0.95;
    divergence.answer_class = i == 0 ? "hard" : "identical";
    divergence.dense_score = 1;
    answer.fidelity.divergence = divergence;
    cell.answers.push_back(answer);
  }
  return cell;
}

Results results_of(std::vector<CellRecord> cells) {
  Results results;
  results.models = {{"toy", "bf16", "w", "t", 5, {}}};
  results.environments.emplace_back().info = "{}";
  results.sweeps = {{"s", "fidelity", 1, "{}"}};
  results.cells = std::move(cells);
  return results;
}

Section section_of(const Results& results) {
  return fidelity_section(analyse(results));
}

const Table& table_of(const Section& section, const std::string& word) {
  const auto at = std::find_if(
      section.tables.begin(), section.tables.end(),
      [&](const Table& table) { return table.caption.find(word) != std::string::npos; });
  EXPECT_NE(at, section.tables.end()) << word;
  return *at;
}

using Rows = std::vector<std::vector<std::string>>;

TEST(report_fidelity, tables_hold_what_was_measured) {
  const Results results = results_of({fidelity_cell("niah", 16384, 3, 0.5)});
  const Section section = section_of(results);
  EXPECT_EQ(
      table_of(section, "mean over layers").rows,
      (Rows{{"toy", "niah", "16k", "3", "25.0", "\u2014", "30.0", "60.0", "25.0", "3.0e-02"}}));
  const auto& divergence = table_of(section, "Logits").rows.at(0);
  EXPECT_EQ(divergence.at(4), "2.0e-03");
  EXPECT_EQ(divergence.at(7), "5.0e-01");
  EXPECT_EQ(std::vector(divergence.begin() + 8, divergence.end()),
            (std::vector<std::string>{"95.0", "2", "0", "0", "1", "66.7", "100.0"}));
  EXPECT_EQ(table_of(section, "needle's block").rows,
            (Rows{{"toy", "niah", "16k", "3", "2", "1", "0", "0", "0 of 0"}}))
      << "layer 4 selected it, which one prompt did not use";
  const auto& layers = table_of(section, "by layer").rows;
  ASSERT_EQ(layers.size(), 2U);
  EXPECT_EQ(std::vector(layers[0].end() - 4, layers[0].end()),
            (std::vector<std::string>{"0", "0", "1", "2"}))
      << "by layer 0 the right ones were lucky";
  EXPECT_EQ(table_of(section, "KV head").rows.size(), 4U);
}

TEST(report_fidelity, layers_pool_the_tasks_of_a_length_and_figures_show_each_layer) {
  const Results results =
      results_of({fidelity_cell("a", 16384, 3, 1), fidelity_cell("b", 16384, 1, 0)});
  const Section section = section_of(results);
  const auto& layers = table_of(section, "by layer").rows;
  ASSERT_EQ(layers.size(), 2U);
  EXPECT_EQ(layers[1].at(8), "75.0") << "needle hits of three prompts in four";
  ASSERT_EQ(section.figures.size(), 3U) << "one length has no curve over length";
  const auto spec = nlohmann::json::parse(section.figures[0].spec);
  ASSERT_EQ(spec["data"]["values"].size(), 2U);
  EXPECT_EQ(spec["data"]["values"][1]["layer"], 4);
  EXPECT_EQ(spec["data"]["values"][1]["value"], 0.5);
}

TEST(report_fidelity, curves_over_length_come_with_a_second_length) {
  const Results results =
      results_of({fidelity_cell("a", 4096, 2, 1), fidelity_cell("a", 16384, 2, 1)});
  EXPECT_EQ(section_of(results).figures.size(), 5U);
}

TEST(report_fidelity, refused_cells_and_answers_of_other_kinds_are_not_in_it) {
  CellRecord refused = fidelity_cell("a", 16384, 2, 1);
  refused.status = "invalid";
  CellRecord other = fidelity_cell("b", 4096, 2, 1);
  other.kind = "accuracy";
  const Section section = section_of(results_of({refused, other}));
  EXPECT_TRUE(section.tables.empty());
  EXPECT_TRUE(section.paragraphs.empty());
}

TEST(report_fidelity, its_answers_count_neither_for_accuracy_nor_for_errors) {
  const Results results = results_of({fidelity_cell("a", 4096, 2, 1)});
  const Analysis analysis = analyse(results);
  EXPECT_TRUE(analysis.accuracy.empty());
  EXPECT_TRUE(analysis.grid.empty());
  EXPECT_TRUE(analysis.error_classes.at(0).empty());
}

}  // namespace
}  // namespace sala
