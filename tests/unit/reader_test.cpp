// The reading side of the store: whole cells, chosen runs, and errors that name the file.
// SPDX-License-Identifier: Apache-2.0
#include "harness/store/reader.h"

#include <gtest/gtest.h>

#include <fstream>

#include "engine/base/error.h"
#include "tests/report_fixture.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

class ReaderTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::temp_directory_path() / ("sala-reader-" + std::to_string(::getpid()) + "-" +
                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    database_ = folder_ / "results.db";
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const std::string& text) const { std::ofstream(database_, std::ios::binary) << text; }
  void change(const std::string& sql) const { open_for_writing(database_)->exec(sql); }
  std::string error_of(const std::vector<std::string>& ids = {}) const {
    try {
      ResultReader(database_).results(ids);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  fs::path folder_;
  fs::path database_;
};

const ReportFixture kSmall{.tasks = {"niah_single_1", "needle_grid"},
                           .lengths = {1024, 4096},
                           .samples = 6,
                           .oom_length = 4096};

TEST_F(ReaderTest, a_resumed_cell_reads_like_one_that_ran_through) {
  write_report_fixture(database_, kSmall);
  const Results results = ResultReader(database_).results();
  ASSERT_EQ(results.cells.size(), 8U);
  const CellRecord& resumed = results.cells[0];
  ASSERT_EQ(resumed.runs.size(), 2U);
  EXPECT_EQ(resumed.runs[0].status, "killed");
  EXPECT_EQ(resumed.status, "ok");
  ASSERT_EQ(resumed.answers.size(), 6U);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(resumed.answers[i].sample_index, static_cast<std::int64_t>(i));
    EXPECT_EQ(resumed.answers[i].run, i < 3 ? 0U : 1U);
  }
}

TEST_F(ReaderTest, a_prompt_answered_twice_counts_once_and_the_later_answer_stands) {
  write_report_fixture(database_, kSmall);
  change(
      "INSERT INTO answer(run_id,prompt_id,output,output_tokens_sha256,n_out,finish,score,correct,"
      "error_class) SELECT 2,prompt_id,'again','x',1,'eos',0,0,'miss' FROM answer WHERE run_id=1 "
      "ORDER BY prompt_id LIMIT 1");
  const Results results = ResultReader(database_).results();
  ASSERT_EQ(results.cells[0].answers.size(), 6U);
  EXPECT_EQ(results.cells[0].answers[0].output, "again");
}

TEST_F(ReaderTest, an_invalid_run_gives_no_numbers) {
  write_report_fixture(database_, kSmall);
  change("UPDATE run SET status='invalid', status_reason='route' WHERE cell_id=2");
  const Results results = ResultReader(database_).results();
  EXPECT_EQ(results.cells[1].status, "invalid");
  EXPECT_TRUE(results.cells[1].answers.empty());
  EXPECT_TRUE(results.cells[1].values.empty());
}

TEST_F(ReaderTest, running_out_of_memory_keeps_its_bytes) {
  write_report_fixture(database_, kSmall);
  const Results results = ResultReader(database_).results();
  const CellRecord& cell = results.cells[5];
  EXPECT_EQ(cell.mode, "full");
  EXPECT_EQ(cell.status, "oom");
  ASSERT_TRUE(cell.runs[0].oom.has_value());
  EXPECT_EQ(cell.runs[0].oom->requested_bytes, 9663676416);
  EXPECT_EQ(cell.runs[0].oom->free_bytes, 4294967296);
  EXPECT_TRUE(cell.runs[0].oom->predicted);
}

TEST_F(ReaderTest, warm_ups_and_flagged_values_are_left_out) {
  write_report_fixture(database_, kSmall);
  change(
      "INSERT INTO sample(run_id,metric_id,stage_id,rep,value) VALUES(3,1,0,-1,5);"
      "UPDATE sample SET flags=1 WHERE run_id=3 AND metric_id=1 AND rep=2");
  const Results results = ResultReader(database_).results();
  int n = 0;
  for (const ValueRecord& value : results.cells[1].values) n += value.metric == "ttft_ns" ? 1 : 0;
  EXPECT_EQ(n, 5);
}

TEST_F(ReaderTest, the_ledger_adds_up_to_the_peak_of_one_phase) {
  EXPECT_EQ(ledger_peak_bytes({}), 0);
  const auto row = [](const char* phase, const char* category, std::int64_t bytes) {
    return LedgerRecord{phase, category, std::nullopt, bytes, bytes};
  };
  EXPECT_EQ(ledger_peak_bytes({row("decode", "weights", 10), row("decode", "kv_full", 5),
                               row("prefill", "weights", 10), row("prefill", "workspace", 9),
                               row("prefill", "host_pinned", 100)}),
            19);
}

TEST_F(ReaderTest, a_file_from_before_the_sensors_is_read_without_them) {
  write_report_fixture(database_, kSmall);
  SQLite::Database(database_.string(), SQLite::OPEN_READWRITE).exec("DROP TABLE telemetry");
  const Results results = ResultReader(database_).results();
  EXPECT_FALSE(results.cells[0].answers.empty());
  EXPECT_FALSE(results.cells[0].runs[0].telemetry);
}

TEST_F(ReaderTest, what_the_driver_takes_for_itself_is_no_part_of_the_ledger) {
  write_report_fixture(database_, kSmall);
  const std::int64_t peak = ledger_peak_bytes(ResultReader(database_).results().cells[1].ledger);
  change(
      "INSERT INTO memory_ledger VALUES(3,'prefill','context',NULL,7,7,7);"
      "INSERT INTO memory_ledger VALUES(3,'prefill','unaccounted',NULL,-2,-2,-2)");
  const CellRecord cell = ResultReader(database_).results().cells[1];
  EXPECT_EQ(ledger_peak_bytes(cell.ledger), peak);
  ASSERT_TRUE(cell.driver_memory);
  EXPECT_EQ(cell.driver_memory->context_bytes, 7);
  EXPECT_EQ(cell.driver_memory->unaccounted_bytes, -2);
}

TEST_F(ReaderTest, runs_are_chosen_by_uid_start_of_uid_and_name) {
  write_report_fixture(database_, kSmall);
  for (const char* id : {"01-fixture-sweep", "01-", "fixture"}) {
    EXPECT_EQ(ResultReader(database_).results({id}).cells.size(), 8U) << id;
  }
  const Results one = ResultReader(database_).results({"run-0003"});
  ASSERT_EQ(one.cells.size(), 1U);
  EXPECT_EQ(one.cells[0].runs[0].uid, "run-0003");
  EXPECT_EQ(ResultReader(database_).results({"run-0003", "run-0004"}).cells.size(), 2U);
}

TEST_F(ReaderTest, an_unknown_or_ambiguous_run_says_what_there_is) {
  write_report_fixture(database_, kSmall);
  EXPECT_NE(error_of({"nonsense"}).find("01-fixture-sweep (fixture)"), std::string::npos);
  EXPECT_NE(error_of({"run-000"}).find("ambiguous"), std::string::npos);
  EXPECT_NE(error_of({""}).find("has no run ''"), std::string::npos);
}

TEST_F(ReaderTest, reading_changes_nothing) {
  write_report_fixture(database_, kSmall);
  const auto before = fs::last_write_time(database_);
  ResultReader(database_).results();
  EXPECT_EQ(fs::last_write_time(database_), before);
}

TEST_F(ReaderTest, a_file_that_is_no_result_database_is_refused_by_name) {
  EXPECT_NE(error_of().find("results.db"), std::string::npos);
  write("");
  EXPECT_NE(error_of().find("results.db"), std::string::npos);
  write("this is not a database at all, though it is long enough to have a header of its own\n");
  EXPECT_NE(error_of().find("results.db"), std::string::npos);
  fs::remove(database_);
  fs::create_directory(database_);
  EXPECT_NE(error_of().find("results.db"), std::string::npos);
}

TEST_F(ReaderTest, a_database_without_results_says_how_to_make_some) {
  open_for_writing(database_);
  EXPECT_NE(error_of().find("sala run"), std::string::npos);
}

TEST_F(ReaderTest, a_truncated_database_is_an_error_at_every_size) {
  write_report_fixture(database_, kSmall);
  change("PRAGMA wal_checkpoint(TRUNCATE)");
  std::string bytes;
  {
    std::ifstream file(database_, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
  }
  for (const std::size_t size : {std::size_t{50}, std::size_t{4096}, std::size_t{40000},
                                 bytes.size() / 2, bytes.size() - 4096}) {
    fs::remove(database_.string() + "-wal");
    fs::remove(database_.string() + "-shm");
    write(bytes.substr(0, size));
    EXPECT_NE(error_of().find("results.db"), std::string::npos) << size;
  }
}

}  // namespace
}  // namespace sala
