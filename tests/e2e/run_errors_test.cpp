// What `sala run` refuses: with exit code 2, one line that names the thing, and no file made.
// SPDX-License-Identifier: Apache-2.0
#include <SQLiteCpp/SQLiteCpp.h>
#include <sys/resource.h>

#include "tests/run_sala.h"

namespace sala::testing {
namespace {

class RunErrorsTest : public SalaTest {
 protected:
  /// The command fails before anything is stored, with a message that holds `text`.
  void expect_refused(const std::vector<std::string>& options, const std::string& text) const {
    const Finished run = sala(run_command(options));
    EXPECT_EQ(run.code, 2) << text;
    EXPECT_NE(run.err.find(text), std::string::npos) << run.err;
    EXPECT_EQ(run.out, "");
    EXPECT_FALSE(std::filesystem::exists(db_)) << text;
  }
};

TEST_F(RunErrorsTest, bad_options_are_named) {
  expect_refused({"--lengths", "4q"}, "'4q'");
  expect_refused({"--lengths", "0"}, "'0'");
  expect_refused({"--lengths", "16"}, "16");
  expect_refused({"--samples", "0"}, "--samples");
  expect_refused({"--tasks", "nonsense"}, "nonsense");
  expect_refused({"--baseline", "no-such-model"}, "no-such-model");
  expect_refused({"--data", "/nowhere"}, "/nowhere");
  expect_refused({"--device", "tpu"}, "tpu");
  expect_refused({"--device", "cuda"}, "cuda");
  expect_refused({"--chunk", "7"}, "chunk");
  expect_refused({"--set", "colour=red"}, "colour");
  expect_refused({"--set", "colour"}, "KEY=VALUE");
  expect_refused({"--memory-limit", "1"}, "does not fit");
  expect_refused({"--no-such-option"}, "no-such-option");
}

TEST_F(RunErrorsTest, a_bad_suite_file_is_named) {
  write_suite("name = \"test\"\nlength = 4\n");
  expect_refused({}, "unknown key 'length'");
  write_suite("name = ");
  expect_refused({}, "suite.toml");
}

TEST_F(RunErrorsTest, unknown_models_and_suites_list_what_there_is) {
  Finished run = sala({"run", "--model", "nope", "--db", db_});
  EXPECT_EQ(run.code, 2);
  EXPECT_NE(run.err.find("minicpm-sala-9b"), std::string::npos) << run.err;
  run = sala({"run", "--suite", "nope", "--db", db_});
  EXPECT_EQ(run.code, 2);
  EXPECT_NE(run.err.find("quick"), std::string::npos) << run.err;
}

TEST_F(RunErrorsTest, weights_that_are_not_there_are_named) {
  std::vector<std::string> command = run_command();
  std::erase(command, "--weights");
  std::erase(command, "random:1");
  const Finished run = sala(command);
  EXPECT_EQ(run.code, 2);
  EXPECT_NE(run.err.find("safetensors"), std::string::npos) << run.err;
  EXPECT_FALSE(std::filesystem::exists(db_));
}

TEST_F(RunErrorsTest, a_database_that_is_none_or_not_ours_stays_as_it_is) {
  std::ofstream(db_) << std::string(4096, 'x');
  Finished run = sala(run_command());
  EXPECT_EQ(run.code, 2);
  EXPECT_NE(run.err.find(db_.string()), std::string::npos) << run.err;
  EXPECT_EQ(read_all(db_), std::string(4096, 'x'));

  std::filesystem::remove(db_);
  SQLite::Database(db_.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE)
      .exec("PRAGMA application_id=5; CREATE TABLE t(x)");
  run = sala(run_command());
  EXPECT_EQ(run.code, 2);
  EXPECT_NE(run.err.find("another program"), std::string::npos) << run.err;
}

TEST_F(RunErrorsTest, a_newer_database_is_refused) {
  ASSERT_EQ(sala(run_command({"--samples", "1"})).code, 0);
  SQLite::Database(db_.string(), SQLite::OPEN_READWRITE).exec("PRAGMA user_version=99");
  const Finished run = sala(run_command());
  EXPECT_EQ(run.code, 2);
  EXPECT_NE(run.err.find("schema version 99"), std::string::npos) << run.err;
}

TEST_F(RunErrorsTest, a_full_disk_ends_the_run_with_code_3_and_keeps_what_was_stored) {
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit limit = before;
  limit.rlim_cur = 500000;
  setrlimit(RLIMIT_FSIZE, &limit);
  const pid_t child = start(run_command({"--samples", "12"}));
  setrlimit(RLIMIT_FSIZE, &before);
  const Finished run = wait(child);
  EXPECT_EQ(run.code, 3) << run.err;
  EXPECT_NE(run.err.find("disk full"), std::string::npos) << run.err;
  {
    SQLite::Database database(db_.string(), SQLite::OPEN_READWRITE);
    EXPECT_GT(database.execAndGet("SELECT COUNT(*) FROM answer").getInt(), 0);
  }
  EXPECT_EQ(sala(run_command({"--samples", "12"})).code, 0);
}

}  // namespace
}  // namespace sala::testing
