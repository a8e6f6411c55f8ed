// Reports on made-up results: golden text, equal bytes, the verdict's words, inert foreign text.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "engine/base/sha256.h"
#include "harness/compare/ruler_summary.h"
#include "reports/analysis.h"
#include "reports/document.h"
#include "reports/format.h"
#include "reports/html/assets.h"
#include "reports/registry.h"
#include "tests/report_fixture.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

Results read(const ReportFixture& fixture) {
  const fs::path folder = fs::temp_directory_path() / ("sala-report-" + std::to_string(::getpid()));
  fs::remove_all(folder);
  fs::create_directories(folder);
  write_report_fixture(folder / "results.db", fixture);
  Results results = ResultReader(folder / "results.db").results();
  fs::remove_all(folder);
  return results;
}

const Results& small() {
  static const Results results = read({.tasks = {"niah_single_1", "needle_grid"},
                                       .lengths = {1024, 4096},
                                       .samples = 6,
                                       .oom_length = 4096});
  return results;
}

const Results& large() {
  static const Results results = read({});
  return results;
}

std::string written(const Results& results, std::string_view format) {
  for (const Report& report : reports()) {
    if (report.name != format) continue;
    std::ostringstream out;
    report.write(results, out);
    return out.str();
  }
  return "";
}

/// Compares with tests/unit/data; SALA_UPDATE_GOLDEN=1 in the environment rewrites the file.
void expect_golden(const std::string& text, const std::string& name) {
  const fs::path path = fs::path(SALA_TEST_SOURCE_DIR) / "tests/unit/data" / name;
  if (std::getenv("SALA_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(path, std::ios::binary) << text;
  }
  std::ifstream file(path, std::ios::binary);
  const std::string golden((std::istreambuf_iterator<char>(file)), {});
  EXPECT_EQ(text, golden) << path;
}

TEST(report, markdown_is_the_golden_text) {
  expect_golden(written(small(), "md"), "report.md");
}

TEST(report, csv_is_the_golden_text) {
  expect_golden(written(small(), "csv"), "report.csv");
}

TEST(report, equal_databases_give_equal_bytes) {
  const Results again = read({.tasks = {"niah_single_1", "needle_grid"},
                              .lengths = {1024, 4096},
                              .samples = 6,
                              .oom_length = 4096});
  for (const Report& report : reports()) {
    EXPECT_EQ(written(small(), report.name), written(again, report.name)) << report.name;
  }
}

TEST(report, jsonl_has_one_object_a_sample_and_no_gap) {
  std::istringstream lines(written(small(), "jsonl"));
  int n = 0;
  for (std::string line; std::getline(lines, line); ++n) {
    const auto row = nlohmann::json::parse(line);
    EXPECT_EQ(row["schema_version"], 1);
    for (const char* field : {"model", "mode", "task", "length_tokens", "status", "cell_key",
                              "compare_key", "weights_sha256", "git_commit", "env_hash"}) {
      EXPECT_FALSE(row[field].is_null()) << field;
    }
    if (row["status"] == "oom") {
      EXPECT_EQ(row["error_class"], "run_failed");
      EXPECT_EQ(row["score"], 0);
      EXPECT_TRUE(row["ttft_ns"].is_null());
    }
  }
  EXPECT_EQ(n, 8 * 6);
}

TEST(report, a_cell_that_never_ran_is_a_row_of_its_own) {
  Results results = small();
  results.cells[2].runs.clear();
  results.cells[2].answers.clear();
  results.cells[2].values.clear();
  results.cells[2].status = "planned";
  const std::string csv = written(results, "csv");
  EXPECT_NE(csv.find(",planned,"), std::string::npos);
  EXPECT_NE(written(results, "md").find("not started"), std::string::npos);
}

TEST(report, html_names_the_hash_of_everything_that_runs) {
  const std::string page = written(small(), "html");
  EXPECT_EQ(page.find("<script src"), std::string::npos);
  EXPECT_EQ(page.find("unsafe-"), std::string::npos);
  EXPECT_EQ(page.find("sourceMappingURL"), std::string::npos);
  EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
  if (page_assets().has_charts()) {
    EXPECT_NE(page.find("vegaEmbed("), std::string::npos);
  } else {
    EXPECT_NE(page.find("tables only"), std::string::npos);
  }
  EXPECT_LT(page.size(), 5U << 20);
}

TEST(report, scripts_inside_the_page_cannot_end_early) {
  for (const std::string_view text : {page_assets().script, page_assets().vega,
                                      page_assets().vega_lite, page_assets().vega_embed}) {
    EXPECT_EQ(text.find("</script"), std::string_view::npos);
    EXPECT_EQ(text.find("<!--"), std::string_view::npos);
    EXPECT_EQ(text.find('\r'), std::string_view::npos);  // a browser would change it and its hash
  }
}

TEST(report, foreign_text_stays_text) {
  Results results = large();
  results.models[0].name = "</title><script>alert(1)</script>|`x`";
  for (CellRecord& cell : results.cells) {
    for (AnswerRecord& answer : cell.answers) answer.error_class += answer.correct ? "" : "<b>";
  }
  std::string page = written(results, "html");
  page.resize(std::min(page.size(), page.find("</footer>")));  // the chart library comes after it
  EXPECT_EQ(page.find("<script>alert"), std::string::npos);
  EXPECT_EQ(page.find("<img"), std::string::npos);
  EXPECT_EQ(page.find("<b>"), std::string::npos);
  EXPECT_EQ(page.find('\x1b'), std::string::npos);
  const std::string markdown = written(results, "md");
  EXPECT_EQ(markdown.find("<script"), std::string::npos);
  EXPECT_EQ(markdown.find("<img"), std::string::npos);
}

TEST(report, csv_quotes_what_needs_quotes) {
  const std::string csv = written(small(), "csv");
  EXPECT_NE(csv.find("\"</script><img src=x onerror=\"\"document.title='owned'\"\">|`*\n<!--"),
            std::string::npos);
}

TEST(report, pairs_are_made_on_equal_prompts_alone) {
  Results results = small();
  for (CellRecord& cell : results.cells) {
    if (cell.mode != "full") continue;
    for (AnswerRecord& answer : cell.answers) answer.prompt += 1'000'000'000;
  }
  const Analysis analysis = analyse(results);
  EXPECT_TRUE(analysis.pair.has_value());
  EXPECT_FALSE(analysis.overall.paired.has_value());
  EXPECT_EQ(analysis.verdict, Verdict::none);
}

/// Results whose full-attention answers are all right and whose hybrid ones are wrong with
/// sample_index % every == 0.
Results with_misses(std::int64_t every) {
  Results results = large();
  for (CellRecord& cell : results.cells) {
    cell.status = "ok";
    for (AnswerRecord& answer : cell.answers) {
      const bool wrong = cell.mode == "hybrid" && every > 0 && answer.sample_index % every == 0;
      answer.score = wrong ? 0 : 1;
      answer.correct = !wrong;
      answer.error_class = wrong ? "miss" : "";
    }
  }
  return results;
}

TEST(report, the_verdict_is_a_word_that_the_numbers_bear) {
  const auto verdict = [](const Results& results) { return analyse(results).verdict; };
  EXPECT_EQ(verdict(with_misses(0)), Verdict::same);  // 528 equal answers
  EXPECT_EQ(verdict(with_misses(2)), Verdict::worse);
  Results few = with_misses(0);
  for (CellRecord& cell : few.cells) cell.answers.resize(2);
  EXPECT_EQ(verdict(few), Verdict::undecided);
  Results better = with_misses(2);
  for (CellRecord& cell : better.cells) cell.mode = cell.mode == "full" ? "hybrid" : "full";
  EXPECT_EQ(verdict(better), Verdict::better);
}

TEST(report, failed_prompts_count_as_misses_and_are_shown_apart) {
  const Analysis analysis = analyse(large());
  ASSERT_TRUE(analysis.overall.paired && analysis.overall_answered.paired);
  EXPECT_EQ(analysis.overall.paired->n, 12 * 44);
  EXPECT_EQ(analysis.overall_answered.paired->n, 9 * 44);
  EXPECT_LT(analysis.overall.second, analysis.overall_answered.second);
  for (const Flip& flip : analysis.flips) EXPECT_NE(flip.second->error_class, "run_failed");
}

TEST(report, the_mean_over_tasks_and_its_chance_to_be_effective_fall_with_length) {
  const Analysis analysis = analyse(large());
  ASSERT_EQ(analysis.length_scores.size(), 8U);  // four lengths of two subjects
  for (const LengthRow& row : analysis.length_scores) {
    EXPECT_EQ(row.n_tasks, 3);  // perplexity is no score
    EXPECT_EQ(row.n, 3 * 44);
    EXPECT_FALSE(row.is_ruler);
    EXPECT_LE(row.score.interval.low, row.score.mean);
    EXPECT_GE(row.score.interval.high, row.score.mean);
    EXPECT_LE(row.p_effective, row.score.p_reaches);
  }
  EXPECT_LT(analysis.length_scores[7].score.mean, analysis.length_scores[4].score.mean);
  EXPECT_EQ(analysis.length_scores[7].p_effective, 0);  // out of memory: every prompt a miss
}

TEST(report, every_score_stands_beside_its_count_and_what_went_wrong) {
  Results results = small();
  for (AnswerRecord& answer : results.cells[0].answers) {
    answer.finish = "length";
    answer.detail = R"({"prompt_tokens_left_out":7})";
  }
  const Analysis analysis = analyse(results);
  const AnswerStats& stats = analysis.accuracy[0].answers[0];
  EXPECT_EQ(stats.n, 6);
  EXPECT_EQ(stats.n_at_limit, 6);
  EXPECT_EQ(stats.n_cut, 6);
  EXPECT_EQ(stats.min_prompt_tokens, 1004);
  const std::string text = written(results, "md");
  EXPECT_NE(text.find("| 6 \u26A0 |"), std::string::npos);
}

TEST(report, groups_and_the_scorers_other_figures_have_tables_with_n) {
  Results results = small();
  std::vector<AnswerRecord>& answers = results.cells[0].answers;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    answers[i].score = i < 2 ? 1 : 0;
    answers[i].detail = i < 4 ? R"({"groups":["easy","short"],"word":1.0,"distractors":3})"
                              : R"({"groups":["hard","short"],"word":0.0,"distractors":0})";
  }
  const std::string text = written(results, "md");
  EXPECT_NE(text.find("| easy | 4 | 50.0 % \\["), std::string::npos);
  EXPECT_NE(text.find("| hard | 2 | 0.0 % \\["), std::string::npos);
  EXPECT_NE(text.find("| short | 6 | 33.3 % \\["), std::string::npos);
  EXPECT_NE(text.find("| word | 6 | 66.7 % \\["), std::string::npos);
  EXPECT_NE(text.find("| distractors | 6 | 2.00 |"), std::string::npos);
  EXPECT_NE(written(results, "jsonl").find(R"("groups":["easy","short"])"), std::string::npos);
}

TEST(report, a_length_of_ruler_that_lacks_a_task_says_which) {
  Results results = small();
  const CellRecord like = results.cells[0];
  results.cells.clear();
  for (const std::string_view task : kRulerTasks) {
    if (task == "cwe") continue;
    results.cells.push_back(like);
    results.cells.back().task = task;
  }
  EXPECT_NE(written(results, "md").find("12 (no RULER score: without cwe)"), std::string::npos);
}

TEST(report, every_comparison_ends_in_a_word) {
  const std::string text = written(with_misses(2), "md");
  EXPECT_NE(text.find("\u25BC worse"), std::string::npos);
  EXPECT_NE(written(with_misses(0), "md").find("? undecided, n\u2248"), std::string::npos);
}

TEST(report, a_baseline_at_the_ceiling_is_called_not_discriminating) {
  const std::string text = written(with_misses(2), "md");
  EXPECT_NE(text.find("Not discriminating, because toy-full"), std::string::npos);
}

TEST(report, official_prompts_and_stand_in_data_are_named) {
  Results results = small();
  for (CellRecord& cell : results.cells) {
    if (cell.task == "needle_grid") cell.task_params = R"({"mode":"official"})";
    if (cell.task == "niah_single_1") cell.task_params = R"({"mode":"strict","label":"standin"})";
  }
  const Analysis analysis = analyse(results);
  std::set<std::string> tasks;
  for (const AccuracyRow& row : analysis.accuracy) tasks.insert(row.task);
  EXPECT_EQ(tasks, (std::set<std::string>{"needle_grid/official", "niah_single_1"}));
  EXPECT_EQ(analysis.length_scores.size(), 8U);  // two modes of two lengths of two subjects
  for (const LengthRow& row : analysis.length_scores) EXPECT_EQ(row.n_tasks, 1);
  const std::string text = written(results, "md");
  EXPECT_NE(text.find("not comparable with published scores: niah"), std::string::npos);
}

TEST(report, prompts_of_one_pattern_are_pointed_out) {
  Results results = small();
  for (CellRecord& cell : results.cells) {
    for (AnswerRecord& answer : cell.answers) answer.cluster = "pattern";
  }
  EXPECT_NE(written(results, "md").find("one pattern of positions in needle"), std::string::npos);
  results = small();
  for (CellRecord& cell : results.cells) {
    cell.task = "cwe";
    cell.task_params = R"({"mode":"official"})";
  }
  EXPECT_NE(written(results, "md").find("one pattern of positions in cwe/official"),
            std::string::npos);
}

TEST(report, a_later_sweep_replaces_the_cells_it_measured_again) {
  Results results = small();
  results.sweeps.push_back(results.sweeps[0]);
  CellRecord again = results.cells[0];
  again.sweep = 1;
  for (AnswerRecord& answer : again.answers) {
    answer.correct = true;
    answer.score = 1;
  }
  results.cells.push_back(again);
  const Analysis analysis = analyse(results);
  EXPECT_EQ(analysis.superseded, 1U);
  for (const AccuracyRow& row : analysis.accuracy) {
    ASSERT_TRUE(row.accuracy[0].has_value());
    EXPECT_EQ(row.accuracy[0]->n, 6);
  }
  EXPECT_EQ(analysis.accuracy[0].accuracy[0]->n_correct, 6);
}

TEST(report, speed_cells_outrank_answered_prompts) {
  Results results = small();
  CellRecord speed = results.cells[0];
  speed.kind = "perf";
  speed.task.clear();
  speed.answers.clear();
  speed.values = {{"ttft_ns", "total", 0, -1, 7e6}};
  results.cells.push_back(speed);
  const Analysis analysis = analyse(results);
  EXPECT_EQ(analysis.speed_at(0, 1024)->ttft_ns->value, 7e6);
  EXPECT_EQ(analysis.speed_at(0, 1024)->ttft_ns->n, 1);
}

TEST(report, crossover_lies_between_the_lengths_that_enclose_it) {
  const Analysis analysis = analyse(large());
  ASSERT_EQ(analysis.crossovers.size(), 3U);
  EXPECT_NE(analysis.crossovers[0].outcome.find("from about 7"), std::string::npos)
      << analysis.crossovers[0].outcome;
  EXPECT_NE(analysis.crossovers[2].outcome.find("at every length from 1k to 16k"),
            std::string::npos)
      << analysis.crossovers[2].outcome;
}

TEST(report, the_side_that_was_asked_for_decides_who_is_compared_with_whom) {
  Results results = small();
  for (CellRecord& cell : results.cells) {
    const bool swapped = cell.mode == "full";  // --model the full one, --baseline the hybrid
    cell.params = swapped ? R"({"side":"model"})" : R"({"side":"baseline"})";
  }
  const Analysis analysis = analyse(results);
  ASSERT_TRUE(analysis.pair.has_value());
  EXPECT_EQ(analysis.subjects[analysis.pair->first].label, "toy-full");
  EXPECT_EQ(analysis.subjects[analysis.pair->second].label, "toy-hybrid");
}

TEST(report, dense_attention_on_the_same_weights_is_a_subject_of_its_own) {
  Results results = small();
  for (CellRecord& cell : results.cells) {
    if (cell.mode != "full") continue;
    cell.mode = "ablation";
    cell.model = 0;
    cell.params = R"({"settings":{"attention":"dense"},"side":"baseline"})";
  }
  const Analysis analysis = analyse(results);
  ASSERT_TRUE(analysis.pair.has_value());
  EXPECT_EQ(analysis.subjects[analysis.pair->second].label, "toy-hybrid (dense)");
}

TEST(report, subjects_of_equal_names_get_labels_that_differ) {
  Results results = small();
  results.models[1].name = results.models[0].name;
  const Analysis analysis = analyse(results);
  ASSERT_EQ(analysis.subjects.size(), 2U);
  EXPECT_NE(analysis.subjects[0].label, analysis.subjects[1].label);
}

/// The rows of the first table of a section whose caption starts so.
const Table* find_table(const Document& document, const char* id, std::string_view caption) {
  for (const Section& section : document.sections) {
    if (section.id != id) continue;
    for (const Table& table : section.tables) {
      if (table.caption.starts_with(caption)) return &table;
    }
  }
  return nullptr;
}

TEST(report, energy_is_added_up_over_requests_and_divided_by_tokens_and_right_answers) {
  Results results = small();
  std::int64_t n_correct = 0;
  std::int64_t n_answers = 0;
  for (CellRecord& cell : results.cells) {
    if (cell.status != "ok") continue;
    const bool is_first = cell.mode == "hybrid" && cell.context_len == 1024;
    cell.runs.back().telemetry = {{.n = 9,
                                   .min_sm_mhz = 1700,
                                   .max_sm_mhz = 1980,
                                   .max_power_w = 512.4,
                                   .max_temp_c = 61,
                                   .event_reasons = 0x44}};
    cell.runs.back().flags = 0x2;
    cell.flagged = {3};
    for (const AnswerRecord& answer : cell.answers) {
      if (is_first) ++n_answers;
      if (is_first && answer.correct) ++n_correct;
      const auto add = [&](const char* metric, const char* stage, double value,
                           std::int64_t pos = -1) {
        cell.values.push_back({metric, stage, answer.sample_index, pos, value});
      };
      add("energy_j", "total", 500);
      add("energy_j", "prefill", 300);
      add("energy_j", "decode", 200);
      add("prompt_tokens", "total", 1000);
      add("prefill_ns", "total", 1e9);
      // Decoding is too short for its energy to mean anything.
      for (int i = 1; i <= 10; ++i) add("itl_ns", "total", 1e6, i);
    }
  }
  const Document document = make_document(analyse(results));
  const Table* energy = find_table(document, "sensors", "Energy of the GPU");
  ASSERT_NE(energy, nullptr);
  const auto& row = energy->rows[0];
  EXPECT_EQ(row[1], "1k");
  EXPECT_EQ(row[2], "0.300");
  EXPECT_EQ(row[3], "\u2014");
  EXPECT_EQ(row[4],
            number_text(500.0 * static_cast<double>(n_answers) / static_cast<double>(n_correct)));
  EXPECT_EQ(row[5], fmt::format("{} of {}", n_correct, n_answers));
  const Table* sensors = find_table(document, "sensors", "Clock, power and heat");
  ASSERT_NE(sensors, nullptr);
  EXPECT_EQ(sensors->rows[0][3], "1700\u20131980");
  EXPECT_EQ(sensors->rows[0][6], "1");
  EXPECT_EQ(sensors->rows[0][7], "power cap, heat, clock changed");
}

TEST(report, without_sensors_and_ceilings_there_are_no_sections_on_them) {
  for (const Section& section : make_document(analyse(small())).sections) {
    EXPECT_NE(section.id, "sensors");
    EXPECT_NE(section.id, "roofline");
  }
}

TEST(report, stages_stand_against_the_ceilings_of_their_process) {
  Results results = small();
  CellRecord& cell = results.cells[0];
  cell.kind = "perf";
  cell.ceilings = Ceilings{.gemm_flops_per_s = 1e12, .copy_bytes_per_s = 1e11, .exp_per_s = 0};
  cell.values = {{"stage_ns", "prefill.dense.attend", 0, -1, 4e6},
                 {"stage_flops", "prefill.dense.attend", 0, -1, 1e9},
                 {"stage_bytes", "prefill.dense.attend", 0, -1, 1e6},
                 {"stage_calls", "prefill.dense.attend", 0, -1, 8},
                 {"stage_ns", "prefill.norm", 0, -1, 1e6},
                 {"gap_ns", "prefill", 0, -1, 5e6},
                 {"prefill_chunk_ns", "total", 0, 512, 5e6},
                 {"prefill_chunk_ns", "total", 0, 1024, 8e6}};
  const Document document = make_document(analyse(results));
  const std::string& label = document.subjects[0];
  const Table* stages = find_table(document, "roofline", label + ": stages of prefill");
  ASSERT_NE(stages, nullptr);
  ASSERT_EQ(stages->rows.size(), 3U);
  EXPECT_EQ(stages->rows[0][0], "dense.attend");
  EXPECT_EQ(stages->rows[0][2], "40.0");
  EXPECT_EQ(stages->rows[0][6], "compute");
  EXPECT_EQ(stages->rows[0][7], "25.0");
  EXPECT_EQ(stages->rows[2][0], "between stages");
  EXPECT_EQ(stages->rows[2][2], "50.0");
  const Table* kinds = find_table(document, "roofline", "Time by kind");
  ASSERT_NE(kinds, nullptr);
  EXPECT_EQ(kinds->rows[0][3], "dense");
  EXPECT_EQ(kinds->rows[0][5], "80.0");
  EXPECT_EQ(kinds->rows[1][3], "none");
  const Table* positions = find_table(document, "roofline", "Prefill rate along");
  ASSERT_NE(positions, nullptr);
  EXPECT_EQ(positions->rows[1][2], "1k");
  EXPECT_EQ(positions->rows[1][3], number_text(512 / 8e-3));
}

TEST(report, the_drivers_figure_stands_beside_the_ledger) {
  Results results = small();
  results.cells[0].driver_memory = {.context_bytes = 500 << 20, .unaccounted_bytes = -(3 << 20)};
  const Document document = make_document(analyse(results));
  const Table* driver = find_table(document, "memory", "What the driver counts");
  ASSERT_NE(driver, nullptr);
  const auto ledger = static_cast<double>(ledger_peak_bytes(results.cells[0].ledger));
  EXPECT_EQ(driver->rows[0][2], bytes_text(ledger)) << "planned exactly";
  EXPECT_EQ(driver->rows[0][3], bytes_text(ledger));
  EXPECT_EQ(driver->rows[0][4], bytes_text(500 << 20));
  EXPECT_EQ(driver->rows[0][5], "\u2212" + bytes_text(3 << 20));
  EXPECT_EQ(driver->rows[0][6], bytes_text(ledger + (497 << 20)));
}

TEST(report, the_longest_context_that_ran_stands_beside_the_shortest_that_did_not_fit) {
  const Document document = make_document(analyse(small()));
  const Table* longest = find_table(document, "memory", "Longest context");
  ASSERT_NE(longest, nullptr);
  ASSERT_EQ(longest->rows.size(), 2U);
  EXPECT_EQ(longest->rows[0][2], "4k");
  EXPECT_EQ(longest->rows[0][3], "\u2014") << "only one of the two ran out of memory";
  EXPECT_EQ(longest->rows[1][2], "1k");
  EXPECT_EQ(longest->rows[1][3], "4k");
}

TEST(report, every_chart_has_a_table_and_a_valid_specification) {
  for (const Section& section : make_document(analyse(large())).sections) {
    EXPECT_TRUE(section.figures.empty() || !section.tables.empty()) << section.id;
    for (const Figure& figure : section.figures) {
      const auto spec = nlohmann::json::parse(figure.spec);
      EXPECT_FALSE(spec["data"]["values"].empty()) << figure.title;
      EXPECT_EQ(figure.spec.find('<'), std::string::npos) << figure.title;
    }
    for (const Table& table : section.tables) {
      for (const auto& row : table.rows) EXPECT_EQ(row.size(), table.columns.size());
    }
  }
}

TEST(report, numbers_are_written_with_three_digits) {
  EXPECT_EQ(number_text(0), "0");
  EXPECT_EQ(number_text(0.012345), "0.0123");
  EXPECT_EQ(number_text(1.2345), "1.23");
  EXPECT_EQ(number_text(12.345), "12.3");
  EXPECT_EQ(number_text(1234.5), "1234");
  EXPECT_EQ(length_text(4096), "4k");
  EXPECT_EQ(length_text(1 << 20), "1M");
  EXPECT_EQ(length_text(1500), "1500");
  EXPECT_EQ(points_text(-0.0004), "0.0");
  EXPECT_EQ(points_text(-0.012), "\u22121.2");
  EXPECT_EQ(p_text(0.0004), "<0.001");
  EXPECT_EQ(duration_text(1.5e6), "1.50\u00a0ms");
  EXPECT_EQ(bytes_text(1536), "1.50\u00a0KiB");
  EXPECT_EQ(utc_text(1700000000000000), "2023-11-14 22:13 UTC");
}

TEST(report, foreign_bytes_become_printable_text) {
  EXPECT_EQ(plain_text("a\nb\tc"), "a\u21B5b c");
  EXPECT_EQ(plain_text("\x1b[31m"), "\uFFFD[31m");
  EXPECT_EQ(plain_text("\xC3\xA9\xFFz\xE2\x82"), "\u00e9\uFFFDz\uFFFD\uFFFD");
  EXPECT_EQ(plain_text("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate is not UTF-8
  EXPECT_EQ(plain_text("abcdef", 5), "abc\u2026");
  EXPECT_EQ(html_escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
  EXPECT_EQ(shell_quote("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quote("4k,16k"), "4k,16k");
}

}  // namespace
}  // namespace sala
