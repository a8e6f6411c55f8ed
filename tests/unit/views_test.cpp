// The views against the exports of a report on the same file, and the queries of the documentation.
// SPDX-License-Identifier: Apache-2.0
#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "harness/compare/statistics.h"
#include "harness/store/reader.h"
#include "reports/registry.h"
#include "tests/report_fixture.h"

namespace sala {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int64_t kMib = 1 << 20;

class ViewsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::temp_directory_path() / ("sala-views-" + std::to_string(::getpid()) + "-" +
                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    database_ = folder_ / "results.db";
    write_report_fixture(database_, {.tasks = {"niah_single_1", "needle_grid", "perplexity"},
                                     .lengths = {1024, 4096},
                                     .samples = 6,
                                     .oom_length = 4096});
    change(
        fmt::format("INSERT INTO memory_ledger VALUES(2,'prefill','context',NULL,0,0,{});"
                    "INSERT INTO memory_ledger VALUES(2,'prefill','unaccounted',NULL,0,0,{});"
                    "INSERT INTO memory_ledger VALUES(2,'prefill','host_pinned',9,9,9,9);"
                    "INSERT INTO sample(run_id,metric_id,stage_id,rep,value) SELECT run_id, 5, 0, "
                    "rep, {} + rep "
                    "FROM sample WHERE metric_id=1",
                    300 * kMib, 2 * kMib, 50 * kMib));
  }
  void TearDown() override { fs::remove_all(folder_); }

  void change(const std::string& sql) const { open_for_writing(database_)->exec(sql); }

  /// A flagged sample, a prompt answered again, and a run that is invalid.
  void spoil() const {
    change(
        "UPDATE sample SET flags=1 WHERE run_id=2 AND rep=4;"
        "UPDATE sample SET value=1e15 WHERE run_id=2 AND rep=4;"
        "INSERT INTO "
        "answer(run_id,prompt_id,output,output_tokens_sha256,n_out,finish,score,correct) "
        "SELECT 2, prompt_id, 'x', 'x', 8, 'eos', 1, 1 FROM answer WHERE run_id=1 AND correct=0;"
        "INSERT INTO run(run_id,uid,cell_id,attempt,grade,env_id,status,status_reason,started_us,"
        "argv) VALUES(99,'run-bad',3,2,'smoke',1,'invalid','route',1,'[]');"
        "INSERT INTO answer SELECT 99, prompt_id, repeat, 'bad', 'x', 8, 'eos', 0, 0, 'miss', "
        "NULL, "
        "NULL, NULL, 7, 7 FROM answer WHERE run_id=4;"
        "INSERT INTO sample SELECT 99, metric_id, stage_id, rep, pos, 7, 0 FROM sample "
        "WHERE run_id=4;"
        "INSERT INTO memory_ledger VALUES(99,'prefill','weights',1,1,1,99999999999)");
  }

  /// Rows as the sqlite3 shell prints them: fields by bars, nothing for NULL.
  std::string ask(const std::string& sql, bool with_header = false) const {
    SQLite::Database database(database_.string());
    SQLite::Statement row(database, sql);
    std::string out;
    const auto add_line = [&](auto text) {
      for (int i = 0; i < row.getColumnCount(); ++i) {
        out += fmt::format("{}{}", i == 0 ? "" : "|", text(i));
      }
      out += "\n";
    };
    if (with_header) add_line([&](int i) { return std::string(row.getColumnName(i)); });
    while (row.executeStep()) add_line([&](int i) { return row.getColumn(i).getString(); });
    return out;
  }

  /// The rows of the CSV and JSON Lines exports, which one table makes.
  std::vector<json> exported() const {
    const Results results = ResultReader(database_).results();
    std::vector<json> rows;
    for (const Report& report : reports()) {
      if (report.name != "jsonl") continue;
      std::stringstream text;
      report.write(results, text);
      for (std::string line; std::getline(text, line);) rows.push_back(json::parse(line));
    }
    return rows;
  }

  fs::path folder_;
  fs::path database_;
};

/// Cells by mode, task and length.
using Key = std::tuple<std::string, std::string, std::int64_t>;

TEST_F(ViewsTest, accuracy_is_that_of_the_export_whatever_was_spoilt) {
  spoil();
  struct Counts {
    std::int64_t n = 0, correct = 0, failed = 0;
    double score = 0;
  };
  std::map<Key, Counts> expected;
  for (const json& row : exported()) {
    if (row["scorer"] == "perplexity") continue;
    Counts& counts = expected[{row["mode"], row["task"], row["length_tokens"]}];
    ++counts.n;
    counts.correct += row["correct"] == true ? 1 : 0;
    counts.failed += row["error_class"] == "run_failed" ? 1 : 0;
    counts.score += row["score"].get<double>();
  }
  SQLite::Database database(database_.string());
  SQLite::Statement row(
      database, "SELECT mode, task, context_len, n, correct, failed, score FROM v_accuracy");
  std::size_t n_rows = 0;
  for (; row.executeStep(); ++n_rows) {
    const Counts& counts = expected.at(
        {row.getColumn(0).getString(), row.getColumn(1).getString(), row.getColumn(2).getInt64()});
    EXPECT_EQ(row.getColumn(3).getInt64(), counts.n);
    EXPECT_EQ(row.getColumn(4).getInt64(), counts.correct);
    EXPECT_EQ(row.getColumn(5).getInt64(), counts.failed);
    EXPECT_DOUBLE_EQ(row.getColumn(6).getDouble(), counts.score / static_cast<double>(counts.n));
  }
  EXPECT_EQ(n_rows, expected.size());
  EXPECT_EQ(n_rows, 8U);
}

TEST_F(ViewsTest, speed_is_that_of_the_export_whatever_was_spoilt) {
  spoil();
  std::map<Key, std::map<std::string, std::vector<double>>> expected;
  for (const json& row : exported()) {
    for (const char* metric : {"ttft_ns", "prefill_tok_s", "tpot_ns", "device_peak_bytes"}) {
      if (row[metric].is_null() || row["scorer"] == "perplexity") continue;
      expected[{row["mode"], row["task"], row["length_tokens"]}][metric].push_back(row[metric]);
    }
  }
  SQLite::Database database(database_.string());
  SQLite::Statement row(database,
                        "SELECT mode, task, context_len, n, ttft_ns, prefill_tok_s, tpot_ns, "
                        "device_peak_bytes FROM v_speed WHERE scorer<>'perplexity'");
  std::size_t n_rows = 0;
  for (; row.executeStep(); ++n_rows) {
    const auto& values = expected.at(
        {row.getColumn(0).getString(), row.getColumn(1).getString(), row.getColumn(2).getInt64()});
    EXPECT_EQ(row.getColumn(3).getInt64(), static_cast<std::int64_t>(values.at("ttft_ns").size()));
    EXPECT_DOUBLE_EQ(row.getColumn(4).getDouble(), median(values.at("ttft_ns")));
    EXPECT_DOUBLE_EQ(row.getColumn(5).getDouble(), median(values.at("prefill_tok_s")));
    EXPECT_DOUBLE_EQ(row.getColumn(6).getDouble(), median(values.at("tpot_ns")));
    EXPECT_DOUBLE_EQ(row.getColumn(7).getDouble(),
                     std::ranges::max(values.at("device_peak_bytes")));
  }
  EXPECT_EQ(n_rows, expected.size());
  EXPECT_EQ(n_rows, 6U);  // of eight cells two ran out of memory
}

TEST_F(ViewsTest, flat_rows_count_raw_samples_of_valid_runs_alone) {
  const std::string of_run_2 =
      "SELECT n FROM v_flat WHERE run='run-0002' AND metric='ttft_ns' AND stage='total'";
  EXPECT_EQ(ask(of_run_2), "3\n");
  spoil();
  EXPECT_EQ(ask(of_run_2), "2\n");
  EXPECT_EQ(ask("SELECT COUNT(*) FROM v_flat WHERE run='run-bad'"), "0\n");
  EXPECT_EQ(ask("SELECT COUNT(*) FROM v_flat WHERE metric='cold.ttft_ns'"), "0\n");
  EXPECT_EQ(ask("SELECT COUNT(*) FROM v_flat f JOIN run r ON r.uid=f.run JOIN metric m ON "
                "m.name=f.metric JOIN stage g ON g.name=f.stage WHERE f.lowest<>(SELECT MIN(value) "
                "FROM sample s WHERE s.run_id=r.run_id AND s.metric_id=m.metric_id AND "
                "s.stage_id=g.stage_id AND s.flags=0 AND s.rep>=0)"),
            "0\n");
}

TEST_F(ViewsTest, medians_of_even_and_odd_counts_lie_in_the_middle) {
  change("UPDATE sample SET value=rep*rep WHERE run_id=3 AND metric_id=1");
  EXPECT_EQ(ask("SELECT n, median, lowest, highest FROM v_flat WHERE run='run-0003' AND "
                "metric='ttft_ns'"),
            "6|6.5|0.0|25.0\n");
  change("DELETE FROM sample WHERE run_id=3 AND metric_id=1 AND rep=5");
  EXPECT_EQ(ask("SELECT n, median FROM v_flat WHERE run='run-0003' AND metric='ttft_ns'"),
            "5|4.0\n");
}

TEST_F(ViewsTest, memory_adds_up_to_what_the_driver_counts) {
  spoil();
  EXPECT_EQ(ask(fmt::format("SELECT driver_bytes-ledger_bytes-context_bytes-unaccounted_bytes, "
                            "context_bytes/{0}, unaccounted_bytes/{0} FROM v_memory_reconcile "
                            "WHERE run='run-0002'",
                            kMib)),
            "0|300|2\n");
  EXPECT_EQ(ask("SELECT COUNT(*) FROM v_memory_reconcile WHERE driver_bytes IS NOT NULL"), "1\n");
  const Results results = ResultReader(database_).results();
  EXPECT_EQ(ask("SELECT ledger_bytes FROM v_memory_reconcile WHERE run='run-0004'"),
            fmt::format("{}\n", ledger_peak_bytes(results.cells[2].ledger)));
}

TEST_F(ViewsTest, queries_of_the_documentation_give_what_it_says) {
  std::ifstream file(fs::path(SALA_TEST_SOURCE_DIR) / "docs/results-schema.md");
  std::string sql;
  std::string output;
  std::string* into = nullptr;
  int n_queries = 0;
  for (std::string line; std::getline(file, line);) {
    if (line == "```sql") {
      sql.clear();
      into = &sql;
    } else if (line == "```text") {
      output.clear();
      into = &output;
    } else if (line == "```") {
      if (into == &output) {
        EXPECT_EQ(ask(sql, true), output) << sql;
        ++n_queries;
      }
      into = nullptr;
    } else if (into != nullptr) {
      *into += line + "\n";
    }
  }
  EXPECT_EQ(n_queries, 7);
}

}  // namespace
}  // namespace sala
