// The results file refuses what it is not, survives what goes wrong, and says so by name.
// SPDX-License-Identifier: Apache-2.0
#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "engine/base/error.h"
#include "harness/store/database.h"
#include "harness/store/migrations.h"
#include "harness/store/process.h"
#include "harness/store/writer.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() / fmt::format("sala_{}_{}", info->name(), getpid());
    fs::create_directories(folder_);
    db_ = folder_ / "results.db";
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string write_error() const {
    return error_of([&] { open_for_writing(db_, 50); });
  }
  std::string read_error() const {
    return error_of([&] { open_for_reading(db_); });
  }
  std::string error_of(const std::function<void()>& action) const {
    try {
      action();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(db_.string()), std::string::npos)
          << "names the file: " << error.what();
      return error.what();
    }
    return "";
  }
  std::string bytes() const {
    std::ifstream file(db_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(const std::string& content) const { std::ofstream(db_, std::ios::binary) << content; }
  std::int64_t count(const std::string& sql) const {
    SQLite::Database database(db_.string(), SQLite::OPEN_READWRITE);
    return database.execAndGet(sql).getInt64();
  }

  fs::path folder_;
  fs::path db_;
};

EnvironmentRow environment() {
  EnvironmentRow row;
  row.machine_uid = "machine";
  row.hostname = "host";
  row.git_commit = std::string(40, '0');
  row.info = "{}";
  return row;
}

CellRow cell() {
  return {.cell_key = "k",
          .compare_key = "c",
          .kind = "accuracy",
          .mode = "full",
          .backend = "cpu",
          .model = {"m", "w", "t", "bf16", {"dense"}, "{}"},
          .task = TaskRow{"fake", 1, "ruler_all", 1, "{}"},
          .context_len = 100,
          .params = "{}"};
}

SampleRow sample(std::int64_t index, std::size_t output_bytes = 10) {
  PromptRow prompt{.tokens_sha256 = fmt::format("{}", index),
                   .target_len = 100,
                   .n_tokens = 90,
                   .gen_budget = 10,
                   .depth_pct = 50,
                   .cluster = "c",
                   .seed = 1,
                   .answer = "[]",
                   .sample_index = index,
                   .needles = {{3, 5}}};
  AnswerRow answer{.output = std::string(output_bytes, 'x'),
                   .output_tokens_sha256 = "h",
                   .n_out = 1,
                   .finish = "eos",
                   .score = 1,
                   .error_class = "",
                   .scorer_detail = "",
                   .ttft_ns = 5,
                   .total_ns = 6};
  return {.answer = {{prompt, answer}},
          .values = {{.metric = "ttft_ns", .rep = index, .value = 5}},
          .memory = {{"weights", 1, 2, 3, 4}},
          .peak_bytes = 4,
          .route = {{0, "prefill", "dense", "k", 1, 0, 0}}};
}

void open(ResultWriter& writer) {
  writer.open_sweep({"test", "{}"}, environment(), {cell()});
  writer.begin_run(0);
}

TEST_F(StoreTest, a_new_file_says_whose_it_is_and_which_version) {
  open_for_writing(db_);
  EXPECT_EQ(count("PRAGMA application_id"), 0x53414C41);
  EXPECT_EQ(count("PRAGMA user_version"), kSchemaVersion);
  EXPECT_EQ(
      count("SELECT COUNT(*) FROM schema_migration WHERE name='initial' AND length(sql_sha256)=64"),
      1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM stage WHERE stage_id=0 AND name='total'"), 1);
  EXPECT_EQ(read_error(), "");
  open_for_writing(db_);
  EXPECT_EQ(count("SELECT COUNT(*) FROM schema_migration"), kSchemaVersion);
}

TEST_F(StoreTest, a_file_of_the_first_version_is_brought_up_with_its_rows) {
  {
    SQLite::Database first(db_.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    first.exec(kSchemaV1);
    first.exec(fmt::format("PRAGMA application_id={}; PRAGMA user_version=1", kApplicationId));
    first.exec("INSERT INTO metric(name,unit,better) VALUES('kept','s','lower')");
  }
  open_for_writing(db_);
  EXPECT_EQ(count("PRAGMA user_version"), kSchemaVersion);
  EXPECT_EQ(count("SELECT COUNT(*) FROM metric WHERE name='kept'"), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM telemetry"), 0);
}

TEST_F(StoreTest, every_table_is_strict_and_documented) {
  open_for_writing(db_);
  EXPECT_EQ(count("SELECT COUNT(*) FROM pragma_table_list WHERE schema='main' AND type='table' AND "
                  "strict=0 AND name NOT LIKE 'sqlite_%'"),
            0);
  SQLite::Database database(db_.string());
  SQLite::Statement tables(database,
                           "SELECT name FROM sqlite_schema WHERE type IN ('table','view') AND "
                           "name NOT LIKE 'sqlite_%'");
  const std::string schema =
      std::string(kSchemaV1) + kSchemaV2 + kSchemaV3 + kSchemaV4 + kSchemaV5 + kSchemaV6;
  int n_tables = 0;
  for (; tables.executeStep(); ++n_tables) {
    const std::string name = tables.getColumn(0).getString();
    EXPECT_NE(schema.find("\n-- " + name + ": "), std::string::npos) << name;
  }
  EXPECT_GE(n_tables, 25);
}

TEST_F(StoreTest, infinity_is_refused_by_the_schema) {
  ResultWriter writer(db_, {});
  open(writer);
  SampleRow row = sample(0);
  row.values[0].value = std::numeric_limits<double>::infinity();
  EXPECT_THROW(writer.append(row), Error);
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer"), 0) << "the sample is one transaction";
  EXPECT_EQ(count("SELECT COUNT(*) FROM prompt"), 0);
  writer.append(sample(0));
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer"), 1);
}

TEST_F(StoreTest, a_database_of_another_program_is_refused_and_untouched) {
  SQLite::Database(db_.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE)
      .exec("PRAGMA application_id=7; CREATE TABLE t(x)");
  const std::string before = bytes();
  EXPECT_NE(write_error().find("application_id is 0x00000007, expected 0x53414c41"),
            std::string::npos);
  EXPECT_NE(read_error().find("another program"), std::string::npos);
  EXPECT_EQ(bytes(), before);
}

TEST_F(StoreTest, a_database_without_an_id_but_with_tables_is_refused) {
  SQLite::Database(db_.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE)
      .exec("CREATE TABLE t(x)");
  EXPECT_NE(write_error().find("another program"), std::string::npos);
}

TEST_F(StoreTest, a_newer_schema_is_refused) {
  open_for_writing(db_)->exec("PRAGMA user_version=99");
  const std::string before = bytes();
  EXPECT_NE(write_error().find("schema version 99"), std::string::npos);
  EXPECT_NE(read_error().find("schema version 99"), std::string::npos);
  EXPECT_EQ(bytes(), before);
}

TEST_F(StoreTest, a_file_that_is_no_database_is_refused_and_untouched) {
  write(std::string(5000, 'a'));
  EXPECT_NE(write_error().find("is not a results database"), std::string::npos);
  EXPECT_NE(read_error().find("is not a results database"), std::string::npos);
  EXPECT_EQ(bytes(), std::string(5000, 'a'));
}

TEST_F(StoreTest, damage_in_the_middle_is_found_when_the_file_is_opened) {
  {
    ResultWriter writer(db_, {});
    open(writer);
    for (int i = 0; i < 50; ++i) writer.append(sample(i, 2000));
  }
  std::string content = bytes();
  ASSERT_GT(content.size(), 100000U);
  content.replace(content.size() - 50000, 30000, std::string(30000, '\x5a'));
  write(content);
  EXPECT_NE(write_error().find("is damaged"), std::string::npos);
  EXPECT_NE(read_error().find("is damaged"), std::string::npos);
  write(content.substr(0, content.size() / 2));
  EXPECT_NE(write_error().find("is damaged"), std::string::npos);
}

TEST_F(StoreTest, a_missing_folder_and_a_folder_for_a_file_are_named) {
  EXPECT_NE(error_of([&] { open_for_writing(db_ / "x.db"); }).find("cannot be"), std::string::npos);
  fs::create_directory(db_);
  EXPECT_NE(write_error().find("cannot be opened"), std::string::npos);
}

TEST_F(StoreTest, reading_needs_a_file_with_a_schema) {
  EXPECT_NE(read_error().find("does not exist"), std::string::npos);
  EXPECT_FALSE(fs::exists(db_)) << "reading makes no file";
  write("");
  EXPECT_NE(read_error().find("is empty"), std::string::npos);
}

/// Runs the check in a process that permissions apply to, which they do not for root.
bool as_nobody(const std::function<bool()>& check) {
  const pid_t child = fork();
  if (child == 0) {
    if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(2);
    _exit(check() ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST_F(StoreTest, a_read_only_file_is_refused_for_writing_and_can_be_read) {
  open_for_writing(db_);
  fs::permissions(folder_, fs::perms(0555));
  fs::permissions(db_, fs::perms(0444));
  EXPECT_TRUE(as_nobody([&] { return write_error().find("read-only") != std::string::npos; }));
  EXPECT_TRUE(as_nobody([&] {
    return open_for_reading(db_)->execAndGet("SELECT COUNT(*) FROM stage").getInt() == 1;
  }));
  fs::permissions(folder_, fs::perms(0755));
}

TEST_F(StoreTest, a_new_file_in_a_read_only_folder_is_refused) {
  fs::permissions(folder_, fs::perms(0555));
  EXPECT_TRUE(
      as_nobody([&] { return write_error().find("cannot be opened") != std::string::npos; }));
  fs::permissions(folder_, fs::perms(0755));
}

TEST_F(StoreTest, a_locked_database_is_waited_for_and_then_named_with_nothing_lost) {
  ResultWriter writer(db_, {}, 50);
  open(writer);
  writer.append(sample(0));
  {
    SQLite::Database other(db_.string(), SQLite::OPEN_READWRITE);
    SQLite::Transaction lock(other, SQLite::TransactionBehavior::IMMEDIATE);
    EXPECT_NE(error_of([&] { writer.append(sample(1)); }).find("held by another process"),
              std::string::npos);
    EXPECT_NE(error_of([&] {
                ResultWriter late(db_, {}, 50);
                open(late);
              }).find("held by another process"),
              std::string::npos);
  }
  writer.append(sample(1));
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer"), 2);
}

TEST_F(StoreTest, a_full_disk_is_named_and_what_was_committed_stays) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  int n_stored = 0;
  std::string message;
  {
    ResultWriter writer(db_, {});
    open(writer);
    rlimit limit = before;
    limit.rlim_cur = 2 << 20;
    setrlimit(RLIMIT_FSIZE, &limit);
    message = error_of([&] {
      for (; n_stored < 1000; ++n_stored) writer.append(sample(n_stored, 20000));
    });
    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_NE(message.find("disk full"), std::string::npos) << message;
    EXPECT_GT(n_stored, 10);
    EXPECT_LT(n_stored, 1000);
    EXPECT_EQ(count("SELECT COUNT(*) FROM answer"), n_stored);
    writer.append(sample(n_stored, 20000));  // space was freed
  }
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer"), n_stored + 1);
  SQLite::Database database(db_.string());
  EXPECT_EQ(database.execAndGet("PRAGMA integrity_check").getString(), "ok");
}

TEST_F(StoreTest, a_full_disk_leaves_no_half_made_schema) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit limit = before;
  limit.rlim_cur = 20000;
  setrlimit(RLIMIT_FSIZE, &limit);
  const std::string message = write_error();
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_NE(message.find("disk full"), std::string::npos) << message;
  EXPECT_EQ(write_error(), "");
  EXPECT_EQ(count("SELECT COUNT(*) FROM schema_migration"), kSchemaVersion);
}

TEST_F(StoreTest, processes_that_create_one_file_together_all_find_it_whole) {
  for (int round = 0; round < 20; ++round) {  // the race is narrow: one round rarely meets it
    const std::filesystem::path path = db_.string() + std::to_string(round);
    std::vector<pid_t> children;
    for (int i = 0; i < 6; ++i) {
      const pid_t child = fork();
      if (child == 0) {
        bool ok = true;
        try {
          open_for_writing(path);
        } catch (const Error& error) {
          ok = false;
          fmt::print(stderr, "{}\n", error.what());
        }
        _exit(ok ? 0 : 1);
      }
      children.push_back(child);
    }
    for (const pid_t child : children) {
      int status = 0;
      waitpid(child, &status, 0);
      EXPECT_EQ(status, 0);
    }
    const auto database = open_for_reading(path);
    EXPECT_EQ(database->execAndGet("SELECT COUNT(*) FROM schema_migration").getInt(),
              kSchemaVersion);
  }
}

TEST_F(StoreTest, the_ledger_kept_is_that_of_the_highest_peak) {
  ResultWriter writer(db_, {});
  open(writer);
  SampleRow rows[] = {sample(0), sample(1), sample(2)};
  rows[1].peak_bytes = 9;
  rows[1].memory = {{"weights", 1, 2, 3, 4}, {"kv_full", 5, 5, 5, 5}};
  for (const SampleRow& row : rows) writer.append(row);
  EXPECT_EQ(count("SELECT SUM(at_device_peak_bytes) FROM memory_ledger"), 9);
  EXPECT_EQ(count("SELECT n_calls FROM route"), 3) << "routes add up";
}

TEST_F(StoreTest, an_interrupted_run_is_closed_from_another_thread) {
  ResultWriter writer(db_, {});
  open(writer);
  writer.append(sample(0));
  const pid_t child = fork();
  if (child == 0) _exit(0);
  waitpid(child, nullptr, 0);
  writer.close_interrupted("SIGINT");
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='killed' AND status_reason='SIGINT'"), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer"), 1);
}

TEST(Process, this_one_lives_and_a_finished_child_does_not) {
  EXPECT_TRUE(process_is_alive(process_identity(), 0));
  int channel[2];
  ASSERT_EQ(pipe(channel), 0);
  const pid_t child = fork();
  if (child == 0) {
    const std::string identity = process_identity();
    const bool ok = ::write(channel[1], identity.data(), identity.size()) > 0;
    _exit(ok ? 0 : 1);
  }
  char buffer[1000];
  const auto n = ::read(channel[0], buffer, sizeof buffer);
  ASSERT_GT(n, 0);
  waitpid(child, nullptr, 0);
  EXPECT_FALSE(process_is_alive(std::string(buffer, static_cast<std::size_t>(n)), now_us()));
  close(channel[0]);
  close(channel[1]);
}

TEST(Process, one_that_cannot_be_looked_up_lives_for_a_minute_after_its_heartbeat) {
  const std::string foreign = R"({"process":{"boot":"x","namespace":"y","pid":1,"start":"1"}})";
  EXPECT_TRUE(process_is_alive(foreign, now_us() - 30'000'000));
  EXPECT_FALSE(process_is_alive(foreign, now_us() - 61'000'000));
  EXPECT_FALSE(process_is_alive("{}", 0));
}

TEST(Process, uids_are_version_7_and_sort_by_time) {
  const std::string first = make_uid();
  usleep(2000);
  const std::string second = make_uid();
  EXPECT_EQ(first.size(), 36U);
  EXPECT_EQ(first[14], '7');
  EXPECT_NE(std::string("89ab").find(first[19]), std::string::npos);
  EXPECT_LT(first, second);
}

TEST(FileSystem, network_file_systems_are_known_by_their_numbers) {
  EXPECT_STREQ(network_file_system(0x6969), "NFS");
  EXPECT_STREQ(network_file_system(0xFF534D42), "CIFS");
  EXPECT_EQ(network_file_system(0xEF53), nullptr) << "ext4";
}

}  // namespace
}  // namespace sala
