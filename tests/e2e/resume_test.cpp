// Ctrl-C and kill -9 at any moment lose at most the sample in flight; the same command goes on.
// SPDX-License-Identifier: Apache-2.0
#include <SQLiteCpp/SQLiteCpp.h>

#include <nlohmann/json.hpp>
#include <random>

#include "tests/run_sala.h"

namespace sala::testing {
namespace {

class ResumeTest : public SalaTest {
 protected:
  void SetUp() override {
    SalaTest::SetUp();
    write_suite(
        "name = \"test\"\n[[cells]]\ntasks = [\"niah_single_1\", \"passkey\"]\n"
        "lengths = \"1k,2k,4k\"\nsamples = 5\n");
  }
  std::int64_t count(const std::string& sql) const {
    if (!std::filesystem::exists(db_)) return 0;
    SQLite::Database database(db_.string(), SQLite::OPEN_READWRITE, 10000);
    if (!database.tableExists("answer")) return 0;
    return database.execAndGet(sql).getInt64();
  }
  /// Every answer with its cell and prompt, in a fixed order; times are left out.
  std::string answers() const {
    SQLite::Database database(db_.string(), SQLite::OPEN_READWRITE);
    EXPECT_EQ(database.execAndGet("PRAGMA integrity_check").getString(), "ok");
    std::string text;
    SQLite::Statement row(
        database,
        "SELECT c.cell_key, p.sample_index, p.tokens_sha256, hex(a.output), a.n_out, "
        "a.finish, a.score FROM answer a JOIN run USING(run_id) JOIN cell c "
        "USING(cell_id) JOIN prompt p USING(prompt_id) ORDER BY 1, 2");
    while (row.executeStep()) {
      for (int i = 0; i < row.getColumnCount(); ++i) text += row.getColumn(i).getString() + " ";
      text += "\n";
    }
    return text;
  }
  /// Waits until more than n answers are stored; false when the process ended before.
  bool wait_for_answers(pid_t child, std::int64_t n) const {
    while (count("SELECT COUNT(*) FROM answer") <= n) {
      siginfo_t ended{};
      waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOHANG | WNOWAIT);
      if (ended.si_pid == child) return false;
      usleep(2000);
    }
    return true;
  }
};

constexpr std::int64_t kPlanned = 2 * 2 * 3 * 5;

TEST_F(ResumeTest, killed_at_random_moments_it_ends_with_the_rows_of_an_undisturbed_run) {
  ASSERT_EQ(sala(run_command()).code, 0);
  const std::string undisturbed = answers();
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(db_.string() + suffix);

  std::mt19937_64 random(11);
  std::int64_t n_answers = 0;
  int n_kills = 0;
  for (; n_kills < 6; ++n_kills) {
    const pid_t child = start(run_command());
    // Some kills fall into start-up, the others behind a new answer.
    const bool alive = n_kills % 3 == 0 || wait_for_answers(child, n_answers);
    usleep(static_cast<useconds_t>(random() % 30000));
    kill(child, SIGKILL);
    const Finished killed = wait(child);
    const std::int64_t now = count("SELECT COUNT(*) FROM answer");
    EXPECT_GE(now, n_answers) << "an answer was lost";
    n_answers = now;
    if (!alive || killed.code == 0) break;
  }
  EXPECT_GE(n_kills, 2) << "the run is too short for this test";
  ASSERT_EQ(sala(run_command()).code, 0);
  EXPECT_EQ(answers(), undisturbed);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='running'"), 0);
  EXPECT_GT(count("SELECT COUNT(*) FROM run WHERE status='killed'"), 0);
  EXPECT_EQ(
      count("SELECT COUNT(*) FROM (SELECT cell_id, prompt_id FROM answer JOIN run USING(run_id) "
            "GROUP BY 1, 2 HAVING COUNT(*)<>1)"),
      0);
}

TEST_F(ResumeTest, a_signal_ends_at_once_with_code_3_and_what_is_there_and_the_rest_runs_later) {
  std::int64_t n_before = 0;
  for (const auto& [signal, name] : {std::pair{SIGINT, "SIGINT"}, std::pair{SIGTERM, "SIGTERM"}}) {
    const pid_t child = start(run_command({"--json"}));
    ASSERT_TRUE(wait_for_answers(child, n_before + 3));
    kill(child, signal);
    const Finished interrupted = wait(child);
    EXPECT_EQ(interrupted.code, 3);
    const std::int64_t n_answers = count("SELECT COUNT(*) FROM answer");
    EXPECT_GT(n_answers, n_before + 3);
    EXPECT_LT(n_answers, kPlanned);
    EXPECT_NE(interrupted.err.find(fmt::format("interrupted by {}: {} of {} samples are stored in "
                                               "{}; give the same command again",
                                               name, n_answers, kPlanned, db_.string())),
              std::string::npos)
        << interrupted.err;
    std::int64_t n_shown = 0;
    const auto shown = nlohmann::json::parse(interrupted.out);
    for (const auto& cell : shown["cells"]) n_shown += cell["n"].get<std::int64_t>();
    EXPECT_EQ(n_shown, n_answers);
    EXPECT_EQ(count(fmt::format("SELECT COUNT(*) FROM run WHERE status='killed' AND "
                                "status_reason='{}'",
                                name)),
              1);
    EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='running'"), 0);
    n_before = n_answers;
  }
  EXPECT_EQ(sala(run_command()).code, 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer"), kPlanned);
}

TEST_F(ResumeTest, a_stopped_run_prints_the_table_of_what_is_there) {
  const pid_t child = start(run_command());
  ASSERT_TRUE(wait_for_answers(child, 1));
  kill(child, SIGTERM);
  const Finished interrupted = wait(child);
  EXPECT_EQ(interrupted.code, 3);
  EXPECT_EQ(interrupted.out.rfind("task ", 0), 0U) << interrupted.out;
  EXPECT_NE(interrupted.out.find("\nniah_single_1 "), std::string::npos) << interrupted.out;
  EXPECT_NE(interrupted.out.find("killed: SIGTERM\n"), std::string::npos) << interrupted.out;
}

TEST_F(ResumeTest, a_second_process_leaves_the_first_alone) {
  const pid_t child = start(run_command());
  ASSERT_TRUE(wait_for_answers(child, 1));
  // Stopped inside a cell: between two cells nobody works on anything.
  for (kill(child, SIGSTOP); count("SELECT COUNT(*) FROM run WHERE status='running'") == 0;) {
    kill(child, SIGCONT);
    usleep(1000);
    kill(child, SIGSTOP);
  }
  const pid_t second_child = fork();
  if (second_child == 0) {
    std::string program = SALA_BINARY;
    std::vector<std::string> command = run_command();
    std::vector<char*> argv{program.data()};
    for (std::string& argument : command) argv.push_back(argument.data());
    argv.push_back(nullptr);
    freopen("/dev/null", "w", stderr);
    execv(program.c_str(), argv.data());
    _exit(127);
  }
  int status = 0;
  waitpid(second_child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 2);
  kill(child, SIGCONT);
  EXPECT_EQ(wait(child).code, 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer"), kPlanned);
}

}  // namespace
}  // namespace sala::testing
