// `sala run` from the command line to the database and the table.
// SPDX-License-Identifier: Apache-2.0
#include <SQLiteCpp/SQLiteCpp.h>

#include <nlohmann/json.hpp>

#include "tests/run_sala.h"

namespace sala::testing {
namespace {

class RunTest : public SalaTest {
 protected:
  std::int64_t count(const std::string& sql) const {
    return SQLite::Database(db_.string(), SQLite::OPEN_READONLY).execAndGet(sql).getInt64();
  }
};

TEST_F(RunTest, every_sample_of_both_sides_is_stored_and_shown) {
  const Finished run = sala(run_command({"--json"}));
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.err, "");
  const auto json = nlohmann::json::parse(run.out);
  ASSERT_EQ(json["cells"].size(), 8U);
  for (const auto& cell : json["cells"]) {
    EXPECT_EQ(cell["status"], "ok");
    EXPECT_EQ(cell["n"], 3);
    EXPECT_GT(cell["ttft_s"], 0);
    EXPECT_GT(cell["peak_bytes"], 0);
  }
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer"), 24);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='ok'"), 8);
  EXPECT_EQ(count("SELECT COUNT(DISTINCT mode) FROM cell"), 2);
  EXPECT_EQ(count("SELECT COUNT(*) FROM prompt WHERE n_tokens+gen_budget>target_len"), 0);
  EXPECT_GT(count("SELECT COUNT(*) FROM route WHERE path='sparse'"), 0);
  EXPECT_EQ(
      count("SELECT COUNT(*) FROM route r JOIN run USING(run_id) JOIN cell USING(cell_id) WHERE "
            "mode='ablation' AND path='sparse'"),
      0);
  EXPECT_GT(count("SELECT COUNT(*) FROM memory_ledger WHERE category='kv_sparse'"), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE json_extract(argv,'$[1]')='run'"), 8);
}

TEST_F(RunTest, the_same_command_again_runs_nothing_and_prints_the_same) {
  const Finished first = sala(run_command());
  ASSERT_EQ(first.code, 0) << first.err;
  const std::int64_t n_runs = count("SELECT COUNT(*) FROM run");
  const Finished second = sala(run_command());
  EXPECT_EQ(second.code, 0);
  EXPECT_EQ(second.out, first.out);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run"), n_runs);
  EXPECT_EQ(count("SELECT COUNT(*) FROM sweep"), 1);
}

TEST_F(RunTest, another_seed_is_another_sweep_in_the_same_file) {
  ASSERT_EQ(sala(run_command({"--baseline", "none", "--samples", "1"})).code, 0);
  ASSERT_EQ(sala(run_command({"--baseline", "none", "--samples", "1", "--seed", "7"})).code, 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM sweep"), 2);
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer"), 8);
  EXPECT_EQ(count("SELECT COUNT(DISTINCT tokens_sha256) FROM prompt"), 8);
}

TEST_F(RunTest, a_dry_run_plans_and_touches_nothing) {
  const Finished dry = sala(run_command({"--dry-run", "--json"}));
  ASSERT_EQ(dry.code, 0) << dry.err;
  const auto json = nlohmann::json::parse(dry.out);
  EXPECT_EQ(json["cells"].size(), 8U);
  EXPECT_GT(json["cells"][0]["est_bytes"], 0);
  EXPECT_FALSE(std::filesystem::exists(db_));
}

TEST_F(RunTest, a_length_that_does_not_fit_is_a_stored_result_and_the_others_run) {
  const Finished plan =
      sala(run_command({"--dry-run", "--json", "--baseline", "none", "--chunk", "512"}));
  ASSERT_EQ(plan.code, 0) << plan.err;
  std::int64_t shorter = 0;
  std::int64_t longer = 0;
  const auto cells = nlohmann::json::parse(plan.out)["cells"];
  for (const auto& cell : cells) {
    (cell["length"] == 1024 ? shorter : longer) = cell["est_bytes"].get<std::int64_t>();
  }
  ASSERT_GT(longer, shorter);
  const auto limit = std::to_string((shorter + longer) / 2);
  const Finished run = sala(
      run_command({"--json", "--baseline", "none", "--chunk", "512", "--memory-limit", limit}));
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='ok'"), 2);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='oom'"), 2);
  EXPECT_EQ(count("SELECT COUNT(*) FROM oom_event WHERE predicted=1 AND requested_bytes>0"), 2);
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer WHERE error_class='run_failed'"), 6);
}

TEST_F(RunTest, speed_cells_take_exactly_the_tokens_they_are_given) {
  write_suite(
      "name = \"speed\"\nkind = \"perf\"\nnew_tokens = 5\n[[cells]]\ntasks = "
      "[\"niah_single_1\"]\nlengths = \"1k\"\nsamples = 3\n");
  const Finished run = sala(run_command({"--json"}));
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(count("SELECT COUNT(*) FROM sample JOIN metric USING(metric_id) WHERE name='itl_ns' "
                  "AND rep>=0"),
            2 * 3 * 4);
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer"), 0);
  EXPECT_EQ(nlohmann::json::parse(run.out)["cells"][0]["task"], "speed");
}

TEST_F(RunTest, a_full_baseline_runs_out_of_memory_by_prediction_and_the_hybrid_goes_on) {
  std::filesystem::create_directories(folder_ / "full");
  std::ofstream(folder_ / "full" / "config.json") << R"json({
      "model_type": "qwen3", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4,
      "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16, "hidden_act": "silu",
      "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "rope_scaling": null, "vocab_size": 400,
      "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": false,
      "torch_dtype": "bfloat16"})json";
  write_suite(
      "name = \"speed\"\nkind = \"perf\"\nnew_tokens = 3\n[[cells]]\ntasks = "
      "[\"niah_single_1\"]\nlengths = \"1k,8k\"\nsamples = 1\n");
  const auto command = [&](const char* limit) {
    return run_command({"--baseline", folder_ / "full", "--memory-limit", limit, "--json"});
  };
  auto dry = command("1");
  dry.emplace_back("--dry-run");
  const Finished plan = sala(dry);
  ASSERT_EQ(plan.code, 0) << "a plan loads no weights: " << plan.err;

  const Finished run = sala(command("12M"));
  ASSERT_EQ(run.code, 0) << run.err;
  const auto cells = nlohmann::json::parse(run.out)["cells"];
  ASSERT_EQ(cells.size(), 4U);
  for (const auto& cell : cells) {
    EXPECT_EQ(cell["status"], cell["length"] == 8192 && cell["side"] == "baseline" ? "oom" : "ok");
  }
  EXPECT_EQ(count("SELECT COUNT(*) FROM oom_event WHERE predicted=1 AND category='kv_full' AND "
                  "requested_bytes=2*4*8192*64*4 AND free_bytes<12*1024*1024"),
            1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM cell WHERE json_extract(params,'$.prompt')='random ids'"),
            4);
}

TEST_F(RunTest, a_terminal_free_run_reports_its_end_on_standard_error) {
  std::vector<std::string> command = run_command({"--samples", "1", "--baseline", "none"});
  std::erase(command, "--no-progress");
  const Finished run = sala(command);
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_NE(run.err.find("[4/4] passkey at 2k, model, about 0 s left\n"), std::string::npos)
      << run.err;
  EXPECT_EQ(run.err.find('\033'), std::string::npos) << "no colours, no cursor moves";
}

TEST_F(RunTest, doctor_names_this_machine_and_a_fix_for_what_is_wrong) {
  setenv("OPENBLAS_CORETYPE", "Haswell", 1);
  const Finished doctor = sala({"doctor", "--json", "--db", folder_ / "missing" / "x.db"});
  unsetenv("OPENBLAS_CORETYPE");
  ASSERT_EQ(doctor.code, 0) << doctor.err;
  std::map<std::string, nlohmann::json> findings;
  for (const auto& finding : nlohmann::json::parse(doctor.out)) findings[finding["name"]] = finding;
  EXPECT_TRUE(findings.contains("cpu"));
  EXPECT_EQ(findings["OPENBLAS_CORETYPE"]["value"], "Haswell");
  EXPECT_NE(findings["OPENBLAS_CORETYPE"]["fix"], "");
  EXPECT_NE(findings["database"]["fix"], "");
}

}  // namespace
}  // namespace sala::testing
