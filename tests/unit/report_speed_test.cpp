// The report's parts on speed: crossovers, rates along a prompt, gaps between tokens, and its size.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "reports/analysis.h"
#include "reports/charts.h"
#include "reports/document.h"
#include "reports/format.h"
#include "reports/registry.h"
#include "tests/report_fixture.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

const Results& large() {
  static const Results results = [] {
    const fs::path folder =
        fs::temp_directory_path() / ("sala-report-speed-" + std::to_string(::getpid()));
    fs::remove_all(folder);
    fs::create_directories(folder);
    write_report_fixture(folder / "results.db");
    Results read = ResultReader(folder / "results.db").results();
    fs::remove_all(folder);
    return read;
  }();
  return results;
}

const Section* find_section(const Document& document, std::string_view id) {
  for (const Section& section : document.sections) {
    if (section.id == id) return &section;
  }
  return nullptr;
}

const Table* find_table(const Section& section, std::string_view caption) {
  for (const Table& table : section.tables) {
    if (table.caption.starts_with(caption)) return &table;
  }
  return nullptr;
}

std::string markdown(const Results& results) {
  for (const Report& report : reports()) {
    if (report.name != "md") continue;
    std::ostringstream out;
    report.write(results, out);
    return out.str();
  }
  return "";
}

TEST(report_speed, a_crossover_has_a_row_with_its_interval_and_a_part_in_the_verdict) {
  const Analysis analysis = analyse(large());
  ASSERT_EQ(analysis.crossovers.size(), 3U);
  const Crossover& ttft = analysis.crossovers[0];
  EXPECT_EQ(ttft.length.kind, CrossoverKind::at);
  EXPECT_LE(ttft.length.interval.low, ttft.length.tokens);
  EXPECT_GE(ttft.length.interval.high, ttft.length.tokens);
  EXPECT_EQ(ttft.fewest_pairs, 3U * 44);  // three tasks that have a first token
  const Document document = make_document(analysis);
  const Table* table = find_table(*find_section(document, "speed"), "Crossover");
  ASSERT_NE(table, nullptr);
  EXPECT_EQ(table->rows[0][1], length_text(std::llround(ttft.length.tokens)));
  EXPECT_EQ(table->rows[0][3], "1k\u201316k");
  EXPECT_EQ(table->rows[2][1], "always");
  bool told = false;
  for (const std::string& sentence : document.verdict) told |= sentence.starts_with("By length");
  EXPECT_TRUE(told);
}

TEST(report_speed, values_of_different_prompts_make_no_crossover) {
  Results results = large();
  for (CellRecord& cell : results.cells) {
    if (cell.mode != "full") continue;
    for (ValueRecord& value : cell.values) value.rep += 1000;
  }
  const Analysis analysis = analyse(results);
  for (const Crossover& crossover : analysis.crossovers) {
    EXPECT_TRUE(crossover.metric == "peak memory" ||
                crossover.length.kind == CrossoverKind::infeasible);
  }
}

TEST(report_speed, a_crossing_is_ruled_into_its_chart) {
  const Analysis analysis = analyse(large());
  const auto ttft = [](const SpeedRow& row) { return row.ttft_ns; };
  const auto with =
      nlohmann::json::parse(length_chart(analysis, "ms", 1e6, ttft, &analysis.crossovers[0]));
  const auto without = nlohmann::json::parse(length_chart(analysis, "ms", 1e6, ttft));
  ASSERT_EQ(with["layer"].size(), without["layer"].size() + 2);
  EXPECT_EQ(with["layer"].back()["data"]["values"][0]["at"], analysis.crossovers[0].length.tokens);
}

/// A speed cell in place of every other cell of the first subject.
Results one_speed_cell(std::vector<ValueRecord> values) {
  Results results = large();
  CellRecord cell = results.cells[0];
  cell.kind = "perf";
  cell.task.clear();
  cell.answers.clear();
  cell.ceilings = Ceilings{.gemm_flops_per_s = 1e12, .copy_bytes_per_s = 1e11};
  cell.values = std::move(values);
  results.cells = {cell};
  return results;
}

TEST(report_speed, a_chunk_counts_the_tokens_since_the_last_one_of_its_own_prompt) {
  // The second prompt is shorter: its last chunk ends between those of the first.
  const Results results = one_speed_cell({{"stage_ns", "prefill.norm", 0, -1, 1e6},
                                          {"prefill_chunk_ns", "total", 0, 512, 1e9},
                                          {"prefill_chunk_ns", "total", 0, 1024, 1e9},
                                          {"prefill_chunk_ns", "total", 1, 512, 3e9},
                                          {"prefill_chunk_ns", "total", 1, 612, 1e9}});
  const Document document = make_document(analyse(results));
  const Section* section = find_section(document, "roofline");
  ASSERT_NE(section, nullptr);
  const Table* table = find_table(*section, "Prefill rate along");
  ASSERT_NE(table, nullptr);
  ASSERT_EQ(table->rows.size(), 3U);
  EXPECT_EQ(table->rows[0][3], "256");  // 1024 tokens in 4 s
  EXPECT_EQ(table->rows[1][3], "100");
  EXPECT_EQ(table->rows[2][3], "512");
  ASSERT_EQ(section->figures.size(), 1U);
  EXPECT_EQ(nlohmann::json::parse(section->figures[0].spec)["data"]["values"].size(), 3U);
}

TEST(report_speed, gaps_between_tokens_have_quantiles_and_a_rising_curve_of_few_points) {
  std::vector<ValueRecord> values;
  for (int i = 1000; i >= 0; --i) values.push_back({"itl_ns", "total", i % 7, i, 1e6 * (1 + i)});
  const Document document = make_document(analyse(one_speed_cell(values)));
  const Section* section = find_section(document, "latency");
  ASSERT_NE(section, nullptr);
  const std::vector<std::string>& row = section->tables.at(0).rows.at(0);
  EXPECT_EQ(row[2], duration_text(501e6));
  EXPECT_EQ(row[3], duration_text(951e6));
  EXPECT_EQ(row[4], duration_text(991e6));
  EXPECT_EQ(row[5], duration_text(1001e6));
  EXPECT_EQ(row[6], "1001");
  const auto points = nlohmann::json::parse(section->figures.at(0).spec)["data"]["values"];
  ASSERT_EQ(points.size(), 200U);
  EXPECT_EQ(points.front()["ms"], 1);
  EXPECT_EQ(points.back()["ms"], 1001);
  for (std::size_t i = 1; i < points.size(); ++i) EXPECT_GT(points[i]["ms"], points[i - 1]["ms"]);
}

TEST(report_speed, without_gaps_there_is_no_section_on_them) {
  const Document document = make_document(analyse(large()));
  EXPECT_EQ(find_section(document, "latency"), nullptr);
}

TEST(report_speed, markdown_leaves_out_folded_tables_before_it_grows_too_long) {
  Results results = large();
  EXPECT_EQ(markdown(results).find("Left out for its length"), std::string::npos);
  const std::vector<CellRecord> cells = results.cells;
  for (int copy = 0; copy < 12; ++copy) {
    for (CellRecord cell : cells) {
      cell.task += std::to_string(copy);
      results.cells.push_back(cell);
    }
  }
  const std::string text = markdown(results);
  EXPECT_LE(text.size(), 65000U);
  EXPECT_NE(text.find("Left out for its length, see the HTML report: Answers"), std::string::npos);
  EXPECT_NE(text.find("**Accuracy in % by task and length**"), std::string::npos);
}

}  // namespace
}  // namespace sala
