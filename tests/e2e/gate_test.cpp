// `sala compare` and `sala gate` from the command line, over stored runs and over live processes.
// SPDX-License-Identifier: Apache-2.0
#include <SQLiteCpp/SQLiteCpp.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/run_sala.h"

namespace sala::testing {
namespace {

using Json = nlohmann::json;

class GateTest : public SalaTest {
 protected:
  void SetUp() override {
    SalaTest::SetUp();
    write_suite(
        "name = \"answers\"\n[[cells]]\ntasks = [\"niah_single_1\", \"passkey\"]\n"
        "lengths = \"1k\"\nsamples = 8\n");
  }

  void sql(const std::string& statements) const {
    SQLite::Database(db_.string(), SQLite::OPEN_READWRITE).exec(statements);
  }
  std::string text(const std::string& query) const {
    return SQLite::Database(db_.string(), SQLite::OPEN_READONLY).execAndGet(query).getString();
  }

  /// Two sweeps of the same work: the second has a baseline beside its model. Returns their ids
  /// with ":model" behind.
  std::pair<std::string, std::string> two_runs(const std::vector<std::string>& more = {},
                                               const std::string& weights = "random:1") const {
    std::vector<std::string> ids;
    for (const char* baseline : {"none", "dense"}) {
      std::vector<std::string> options{"--baseline", baseline, "--json"};
      if (ids.size() == 1) options.insert(options.end(), more.begin(), more.end());
      std::vector<std::string> command = run_command(options);
      if (ids.size() == 1)
        std::replace(command.begin(), command.end(), std::string("random:1"), weights);
      const Finished run = sala(command);
      EXPECT_EQ(run.code, 0) << run.err;
      ids.push_back(Json::parse(run.out)["sweep"].get<std::string>() + ":model");
    }
    return {ids[0], ids[1]};
  }
  Finished gate(const std::pair<std::string, std::string>& runs,
                const std::vector<std::string>& more = {}) const {
    std::vector<std::string> command{"gate",     "--db",        db_,        "--baseline",
                                     runs.first, "--candidate", runs.second};
    command.insert(command.end(), more.begin(), more.end());
    return sala(command);
  }

  /// A program that does what sala does, with a line of shell before.
  std::string wrapper(const std::string& name, const std::string& line,
                      const std::string& more = "") const {
    const auto path = folder_ / name;
    std::ofstream(path) << "#!/bin/sh\n"
                        << line << "\nexec " << SALA_BINARY << " \"$@\" " << more << "\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  }
  std::string speed_suite() const {
    std::ofstream(folder_ / "speed.toml")
        << "name = \"speed\"\nkind = \"perf\"\nnew_tokens = 4\n[[cells]]\n"
           "tasks = [\"niah_single_1\"]\nlengths = \"1k\"\nsamples = 5\n";
    return folder_ / "speed.toml";
  }
  /// Two pairs, and no time is ever too long.
  std::string patient_policy() const {
    std::ofstream(folder_ / "policy.toml")
        << "[pairs]\nlooks = [2]\n[[item]]\nmetric = \"ttft_ns\"\nrel = 10\nabs = 1e12\n"
           "[[item]]\nmetric = \"device_peak_bytes\"\nrel = 0.005\n"
           "[[item]]\nmetric = \"accuracy\"\nmax_drop = 0.02\n";
    return folder_ / "policy.toml";
  }
  std::vector<std::string> live(const std::string& baseline, const std::string& candidate) const {
    return {"gate",
            "--db",
            db_,
            "--baseline-binary",
            baseline,
            "--candidate-binary",
            candidate,
            "--suite",
            speed_suite(),
            "--suite",
            folder_ / "suite.toml",
            "--policy",
            patient_policy(),
            "--no-progress",
            "--json",
            "--",
            "--model",
            folder_ / "tiny",
            "--weights",
            "random:1",
            "--baseline",
            "none",
            "--threads",
            "1"};
  }
};

TEST_F(GateTest, the_two_models_of_one_run_are_compared_by_side) {
  ASSERT_EQ(sala(run_command()).code, 0);
  const Finished compare = sala({"compare", "--db", db_, "baseline", "model", "--json"});
  ASSERT_EQ(compare.code, 0) << compare.err;
  const Json json = Json::parse(compare.out);
  ASSERT_EQ(json["cells"].size(), 2U);
  for (const Json& cell : json["cells"]) {
    EXPECT_EQ(cell["first_side"], "baseline");
    EXPECT_EQ(cell["second_side"], "model");
    EXPECT_EQ(cell["accuracy"]["n"], 8);
    EXPECT_FALSE(cell["numbers"].empty());
  }
  EXPECT_EQ(json["overall"]["n"], 16);
}

TEST_F(GateTest, a_comparison_succeeds_whatever_it_finds) {
  const auto runs = two_runs();
  sql("UPDATE answer SET score=1, correct=1, error_class=NULL WHERE run_id<=2");
  const Finished compare = sala({"compare", "--db", db_, runs.first, runs.second});
  EXPECT_EQ(compare.code, 0) << compare.err;
  EXPECT_NE(compare.out.find("worse"), std::string::npos) << compare.out;
}

TEST_F(GateTest, other_prompts_models_and_devices_are_refused_by_name) {
  const auto seeds = two_runs({"--seed", "7"});
  const Finished by_seed = sala({"compare", "--db", db_, seeds.first, seeds.second});
  EXPECT_EQ(by_seed.code, 4);
  EXPECT_NE(by_seed.err.find("seed: 42 against 7"), std::string::npos) << by_seed.err;
  EXPECT_EQ(gate(seeds).code, 4);

  const auto weights = two_runs({}, "random:2");
  const Finished by_model = gate(weights);
  EXPECT_EQ(by_model.code, 4);
  EXPECT_NE(by_model.out.find("model: tiny"), std::string::npos) << by_model.out;

  const auto devices = two_runs();
  sql("UPDATE cell SET params=json_set(params,'$.device_name','Other') WHERE sweep_id=1");
  const Finished by_device = gate(devices, {"--json"});
  EXPECT_EQ(by_device.code, 4);
  EXPECT_EQ(Json::parse(by_device.out)["differences"][0]["field"], "device");
}

TEST_F(GateTest, another_version_of_a_task_is_refused) {
  const auto runs = two_runs();
  sql("INSERT INTO task(task_id,family,version,scorer,scorer_version,params,params_sha256) "
      "SELECT 99,family,version+1,scorer,scorer_version,params,params_sha256 FROM task LIMIT 1;"
      "UPDATE cell SET task_id=99, compare_key='other' WHERE cell_id=1");
  const Finished refused = gate(runs);
  EXPECT_EQ(refused.code, 4);
  EXPECT_NE(refused.out.find("version 2"), std::string::npos) << refused.out;
}

TEST_F(GateTest, equal_answers_and_memory_pass) {
  const Finished pass = gate(two_runs());
  EXPECT_EQ(pass.code, 0) << pass.out << pass.err;
  EXPECT_NE(pass.out.find("PASS"), std::string::npos);
}

TEST_F(GateTest, lost_prompts_and_grown_memory_block_each_for_its_own_reason) {
  const auto runs = two_runs();
  sql("UPDATE sample SET value=value*1.02 WHERE run_id>2 AND metric_id=(SELECT metric_id FROM "
      "metric WHERE name='device_peak_bytes')");
  const Finished memory = gate(runs, {"--json"});
  EXPECT_EQ(memory.code, 1);
  EXPECT_EQ(Json::parse(memory.out)["items"][0]["metric"], "device_peak_bytes");

  sql("UPDATE sample SET value=value/1.02 WHERE run_id>2 AND metric_id=(SELECT metric_id FROM "
      "metric WHERE name='device_peak_bytes');"
      "UPDATE answer SET score=1, correct=1, error_class=NULL WHERE run_id<=2");
  const Finished accuracy = gate(runs, {"--json"});
  EXPECT_EQ(accuracy.code, 1);
  EXPECT_EQ(Json::parse(accuracy.out)["items"][0]["metric"], "accuracy");
}

TEST_F(GateTest, an_interrupted_a_failed_and_a_never_run_cell_are_no_pass) {
  const auto runs = two_runs();
  for (const char* status : {"killed", "error", "invalid", "running"}) {
    sql(fmt::format("UPDATE run SET status='{}', status_reason='planted' WHERE cell_id=3", status));
    EXPECT_EQ(gate(runs).code, 3) << status;
  }
  sql("DELETE FROM run WHERE cell_id=3");
  const Finished never = gate(runs);
  EXPECT_EQ(never.code, 3);
  EXPECT_NE(never.out.find("never run"), std::string::npos) << never.out;
}

TEST_F(GateTest, memory_that_runs_out_only_in_the_candidate_blocks) {
  const auto runs = two_runs();
  sql("UPDATE run SET status='oom', status_reason='planted' WHERE cell_id=3");
  const Finished blocked = gate(runs);
  EXPECT_EQ(blocked.code, 1) << blocked.out;
  EXPECT_NE(blocked.out.find("out of memory"), std::string::npos);
}

TEST_F(GateTest, a_path_that_no_longer_runs_is_invalid) {
  const auto runs = two_runs();
  sql("UPDATE route SET path='dense' WHERE path='sparse' AND run_id IN (SELECT run_id FROM run "
      "WHERE cell_id=3)");
  const Finished invalid = gate(runs);
  EXPECT_EQ(invalid.code, 3) << invalid.out;
  EXPECT_NE(invalid.out.find("other paths"), std::string::npos);
}

TEST_F(GateTest, errors_are_no_verdict) {
  EXPECT_EQ(sala({"gate", "--db", folder_ / "none.db", "--baseline", "a", "--candidate", "b"}).code,
            3);
  EXPECT_EQ(sala({"gate", "--nonsense"}).code, 64);
  EXPECT_EQ(sala({"gate", "--help"}).code, 0);
  const auto runs = two_runs();
  EXPECT_EQ(gate({runs.first, "nowhere"}).code, 3);
}

TEST_F(GateTest, a_live_gate_of_one_binary_passes_and_keeps_everything) {
  const Finished calibration = sala({"gate",        "--db",
                                     db_,           "--calibrate",
                                     "20",          "--baseline-binary",
                                     SALA_BINARY,   "--suite",
                                     speed_suite(), "--no-progress",
                                     "--json",      "--",
                                     "--model",     folder_ / "tiny",
                                     "--weights",   "random:1",
                                     "--baseline",  "none",
                                     "--threads",   "1"});
  ASSERT_EQ(calibration.code, 0) << calibration.err;
  EXPECT_EQ(Json::parse(calibration.out)["pairs"], 20);

  const Finished live_gate = sala(live(SALA_BINARY, SALA_BINARY));
  ASSERT_EQ(live_gate.code, 0) << live_gate.out << live_gate.err;
  EXPECT_EQ(live_gate.err, "");
  const Json json = Json::parse(live_gate.out);
  EXPECT_EQ(text("SELECT verdict FROM gate"), "pass");
  EXPECT_EQ(text("SELECT identical FROM gate"), "1");
  EXPECT_EQ(text("SELECT COUNT(*) FROM gate_item"), std::to_string(json["items"].size()));
  for (const Json& item : json["items"]) {
    if (item["metric"] == "ttft_ns") {
      EXPECT_GT(item["noise_floor"], 0);
    }
  }
  // One process a side for the answers, two for the times.
  EXPECT_TRUE(std::filesystem::exists(json["folder"].get<std::string>() + "/0003-candidate.db"));
}

TEST_F(GateTest, benchmarks_are_compared_and_gated_by_their_own_time) {
  const auto bench = [&] {
    const Finished run = sala(
        {"bench", "--device", "cpu", "--filter", "^rms_norm/", "--min-time", "0.01", "--db", db_});
    EXPECT_EQ(run.code, 0) << run.err;
  };
  bench();
  bench();
  sql("UPDATE sample SET value=value*2 WHERE run_id=2 AND metric_id=(SELECT metric_id FROM metric "
      "WHERE name='kernel_ns')");
  const auto uid = [&](int sweep) {
    return text(fmt::format("SELECT uid FROM sweep WHERE sweep_id={}", sweep));
  };
  const Finished compared = sala({"compare", "--db", db_, uid(1), uid(2)});
  EXPECT_EQ(compared.code, 0) << compared.err;
  EXPECT_NE(compared.out.find("rms_norm/8192x4096"), std::string::npos) << compared.out;
  EXPECT_NE(compared.out.find("kernel_ns"), std::string::npos) << compared.out;
  const Finished without_floor = gate({uid(1), uid(2)}, {"--json"});
  EXPECT_EQ(without_floor.code, 2) << without_floor.out;
  const Json items = Json::parse(without_floor.out)["items"];
  ASSERT_EQ(items.size(), 1U) << "a benchmark has no answers, no tokens and no ledger";
  EXPECT_EQ(items[0]["metric"], "kernel_ns");

  std::ofstream(folder_ / "kernels.toml")
      << "[pairs]\nlooks = [3]\n[[item]]\nmetric = \"kernel_ns\"\nrel = 9\n";
  const Finished judged =
      sala({"gate", "--db", db_, "--bench", "^rms_norm/", "--policy", folder_ / "kernels.toml",
            "--no-progress", "--json", "--baseline-binary", SALA_BINARY, "--candidate-binary",
            SALA_BINARY, "--", "--device", "cpu", "--min-time", "0.01"});
  EXPECT_EQ(judged.code, 0) << judged.out << judged.err;
  const Json item = Json::parse(judged.out)["items"].at(0);
  EXPECT_EQ(item["task"], "rms_norm/8192x4096") << judged.out;
  EXPECT_EQ(item["metric"], "kernel_ns");
  EXPECT_EQ(text("SELECT COUNT(*) FROM gate_item WHERE metric='kernel_ns' AND baseline>0"), "1");
}

TEST_F(GateTest, a_binary_that_does_other_work_is_not_comparable) {
  const Finished other = sala(live(SALA_BINARY, wrapper("other", "", "--seed 7")));
  EXPECT_EQ(other.code, 4) << other.out;
  EXPECT_NE(other.out.find("seed"), std::string::npos);
}

TEST_F(GateTest, a_binary_that_fails_makes_the_gate_incomplete_after_three_tries) {
  const std::string tries = folder_ / "tries";
  const Finished failed = sala(
      live(SALA_BINARY, wrapper("failing", "echo x >> " + tries + "; echo planted >&2; exit 5")));
  EXPECT_EQ(failed.code, 3);
  EXPECT_NE(failed.out.find("planted"), std::string::npos) << failed.out;
  EXPECT_EQ(read_all(tries), "x\nx\nx\n");
  EXPECT_EQ(text("SELECT verdict FROM gate"), "incomplete");
  EXPECT_EQ(sala(live(SALA_BINARY, folder_ / "nothing")).code, 3);
}

TEST_F(GateTest, an_interrupted_gate_says_so_and_is_no_pass) {
  const std::string begun = folder_ / "begun";
  const pid_t child = start(live(SALA_BINARY, wrapper("slow", "touch " + begun + "; sleep 1")));
  for (int i = 0; i < 600 && !std::filesystem::exists(begun); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  kill(child, SIGTERM);
  const Finished interrupted = wait(child);
  EXPECT_EQ(interrupted.code, 3) << interrupted.err;
  EXPECT_EQ(text("SELECT verdict FROM gate"), "incomplete");
  EXPECT_EQ(text("SELECT reason FROM gate"), "interrupted");
}

TEST_F(GateTest, a_file_of_the_first_schema_can_be_judged_without_touching_it) {
  const auto runs = two_runs();
  sql("DROP TABLE gate_item; DROP TABLE gate; DROP TABLE noise_floor; DELETE FROM schema_migration "
      "WHERE version>1; PRAGMA user_version=1");
  EXPECT_EQ(gate(runs).code, 0);
  EXPECT_EQ(text("PRAGMA user_version"), "1");
}

}  // namespace
}  // namespace sala::testing
