// `sala fidelity` from the command line to the database, the table and the report.
// SPDX-License-Identifier: Apache-2.0
#include <SQLiteCpp/SQLiteCpp.h>

#include <map>
#include <nlohmann/json.hpp>

#include "tests/run_sala.h"

namespace sala::testing {
namespace {

using nlohmann::json;

class FidelityCommandTest : public SalaTest {
 protected:
  /// Two prompts of 1k on the tiny model, whose queries read at most 384 tokens of 512 and more,
  /// unless the options say otherwise; a flag has the value "", an option without a value is left
  /// out.
  std::vector<std::string> command(
      std::map<std::string, std::optional<std::string>> options = {}) const {
    options.insert({{"--model", folder_ / "tiny"},
                    {"--weights", "random:1"},
                    {"--task", "niah_single_1"},
                    {"--lengths", "1k"},
                    {"--samples", "2"},
                    {"--threads", "1"},
                    {"--device", "cpu"},
                    {"--db", db_},
                    {"--no-progress", ""}});
    std::vector<std::string> words{"fidelity"};
    for (const auto& [name, value] : options) {
      if (!value) continue;
      words.push_back(name);
      if (!value->empty()) words.push_back(*value);
    }
    return words;
  }
  Finished fidelity(const std::map<std::string, std::optional<std::string>>& options = {}) const {
    return sala(command(options));
  }
  std::int64_t count(const std::string& sql) const {
    if (!std::filesystem::exists(db_)) return 0;
    SQLite::Database database(db_.string(), SQLite::OPEN_READWRITE, 10000);
    if (!database.tableExists("run")) return 0;
    return database.execAndGet(sql).getInt64();
  }
  void expect_refused(const std::map<std::string, std::optional<std::string>>& options,
                      const std::string& text) const {
    const Finished run = fidelity(options);
    EXPECT_EQ(run.code, 2) << text;
    EXPECT_NE(run.err.find(text), std::string::npos) << run.err;
    EXPECT_FALSE(std::filesystem::exists(db_)) << text;
  }
};

TEST_F(FidelityCommandTest, a_selecting_model_is_measured_stored_and_shown) {
  const Finished run = fidelity({{"--json", ""}});
  ASSERT_EQ(run.code, 0) << run.err;
  const json result = json::parse(run.out);
  EXPECT_TRUE(result["self_test"]["passed"]);
  EXPECT_EQ(result["self_test"]["tokens"], 384);
  ASSERT_EQ(result["cells"].size(), 1U);
  const json& cell = result["cells"][0];
  EXPECT_EQ(cell["status"], "ok");
  const json& question = cell["whole"]["question"];
  EXPECT_NEAR(question["density"].get<double>(), 6 / 16.0, 0.03);
  EXPECT_LE(question["mass_recall"].get<double>(), 1);
  EXPECT_LE(question["efficiency"].get<double>(), 1 + 1e-9);
  EXPECT_GT(question["out_rel_l2"].get<double>(), 0);
  ASSERT_EQ(cell["layers"].size(), 2U);
  EXPECT_EQ(cell["layers"][0]["layer"], 0);
  EXPECT_EQ(cell["layers"][1]["layer"], 3);
  EXPECT_GT(cell["divergence"]["kld_mean"].get<double>(), 0);
  const json& attribution = cell["layers"][0]["attribution"];
  EXPECT_EQ(attribution["selected_unused"].get<int>() + attribution["selection_miss"].get<int>(), 2)
      << "random weights answer nothing";
  EXPECT_EQ(count("SELECT COUNT(*) FROM run r JOIN cell USING(cell_id) WHERE kind='fidelity' AND "
                  "status='ok' AND json_extract(argv,'$[1]')='fidelity'"),
            1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM fidelity WHERE head=-1"), 2 * 2 * 2);
  EXPECT_EQ(count("SELECT COUNT(*) FROM divergence"), 2);
  EXPECT_EQ(count("SELECT COUNT(*) FROM sample"), 0) << "times of such a run say nothing";

  const auto page = folder_ / "report.md";
  const Finished report = sala({"report", "--db", db_, "--format", "md", "-o", page});
  ASSERT_EQ(report.code, 0) << report.err;
  const std::string text = read_all(page);
  EXPECT_NE(text.find("## Selection fidelity"), std::string::npos);
  EXPECT_NE(text.find("selected, unused"), std::string::npos);
}

TEST_F(FidelityCommandTest, where_layers_are_dense_nothing_is_lost_and_that_is_said) {
  const Finished run = fidelity({{"--set", "dense_len=4096"}, {"--samples", "1"}});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_NE(run.out.find("(density 1): niah_single_1 at 1k"), std::string::npos) << run.out;
  EXPECT_EQ(count("SELECT COUNT(*) FROM divergence WHERE kld_max<1e-6 AND top1_agree=1 AND "
                  "class='identical'"),
            1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM fidelity WHERE density<>1 OR mass_recall<0.999999"), 0);
}

TEST_F(FidelityCommandTest, the_reference_model_passes_and_its_right_answer_is_fine) {
  const Finished run = fidelity({{"--model", "needle-hybrid"},
                                 {"--weights", std::nullopt},
                                 {"--lengths", "512"},
                                 {"--samples", "1"},
                                 {"--threads", "2"},
                                 {"--json", ""}});
  ASSERT_EQ(run.code, 0) << run.err;
  const json cell = json::parse(run.out)["cells"][0];
  EXPECT_EQ(cell["whole"]["attribution"],
            json({{"fine", 1}, {"selected_unused", 0}, {"selection_miss", 0}, {"lucky", 0}}));
  EXPECT_EQ(cell["divergence"]["classes"]["identical"], 1);
}

TEST_F(FidelityCommandTest, every_call_measures_anew) {
  ASSERT_EQ(fidelity({{"--samples", "1"}}).code, 0);
  ASSERT_EQ(fidelity({{"--samples", "1"}}).code, 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM sweep"), 2);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='ok'"), 2);
}

TEST_F(FidelityCommandTest, an_interrupted_run_is_killed) {
  const pid_t child = start(command({{"--samples", "1000"}}));
  while (count("SELECT COUNT(*) FROM run WHERE status='running'") == 0) {
    siginfo_t ended{};
    waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOHANG | WNOWAIT);
    ASSERT_NE(ended.si_pid, child) << wait(child).err;
    usleep(2000);
  }
  kill(child, SIGINT);
  const Finished run = wait(child);
  EXPECT_EQ(run.code, 3);
  EXPECT_NE(run.err.find("SIGINT"), std::string::npos) << run.err;
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='killed'"), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status<>'killed'"), 0);
}

TEST_F(FidelityCommandTest, what_cannot_be_measured_is_refused_before_anything_is_stored) {
  expect_refused({{"--model", "needle-full"}, {"--weights", std::nullopt}},
                 "no block-sparse layer");
  expect_refused({{"--set", "sparse=off"}}, "--set sparse");
  expect_refused({{"--suite", "speed"}}, "--suite");
  expect_refused({{"--task", "perplexity"}}, "no right answer");
  expect_refused({{"--task", "no_such_task"}}, "no_such_task");
  expect_refused({{"--lengths", "nonsense"}}, "nonsense");
  expect_refused({{"--samples", "0"}}, "--samples");
}

TEST_F(FidelityCommandTest, memory_that_does_not_suffice_is_a_stored_result_and_exit_code_3) {
  const Finished run = fidelity({{"--lengths", "1k,4k"}, {"--memory-limit", "2500k"}});
  EXPECT_EQ(run.code, 3) << run.err;
  EXPECT_NE(run.out.find("niah_single_1 at 4k: oom: "), std::string::npos) << run.out;
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='ok'"), 1) << "1k fits";
  EXPECT_EQ(count("SELECT COUNT(*) FROM oom_event WHERE category='kv_sparse'"), 1);
}

}  // namespace
}  // namespace sala::testing
