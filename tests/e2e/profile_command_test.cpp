// `sala profile` on a tiny model: the table, the trace file, and what is refused.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/nsight_files.h"
#include "tests/run_sala.h"

namespace sala::testing {
namespace {

using nlohmann::json;

class ProfileCommandTest : public SalaTest {
 protected:
  void SetUp() override {
    SalaTest::SetUp();
    trace_ = folder_ / "trace.json";
  }
  /// 300 tokens in chunks of 128 and 5 steps unless the options say otherwise; a flag has the value
  /// "".
  Finished profile(std::map<std::string, std::string> options = {}) const {
    options.insert({{"--model", folder_ / "tiny"},
                    {"--weights", "random:1"},
                    {"--length", "300"},
                    {"--chunk", "128"},
                    {"--steps", "5"},
                    {"--threads", "1"},
                    {"--device", "cpu"}});
    std::vector<std::string> command{"profile"};
    for (const auto& [name, value] : options) {
      command.push_back(name);
      if (!value.empty()) command.push_back(value);
    }
    return sala(command);
  }
  void expect_refused(const std::map<std::string, std::string>& options,
                      const std::string& text) const {
    const Finished run = profile(options);
    EXPECT_EQ(run.code, 2) << text;
    EXPECT_NE(run.err.find(text), std::string::npos) << run.err;
    EXPECT_EQ(run.out, "");
  }

  std::filesystem::path trace_;
};

TEST_F(ProfileCommandTest, the_trace_nests_and_agrees_with_the_table) {
  const Finished run = profile({{"--json", ""}, {"--trace", trace_}});
  ASSERT_EQ(run.code, 0) << run.err;
  const json summary = json::parse(run.out);
  const json events = json::parse(read_all(trace_))["traceEvents"];

  // Per name: how many, and the sum of their times.
  std::map<std::string, std::pair<int, double>> seen;
  for (const json& event : events) {
    if (event["ph"] != "X") continue;
    seen[event["name"]].first += 1;
    seen[event["name"]].second += event["dur"].get<double>();
  }
  EXPECT_EQ(seen["request"].first, 1);
  EXPECT_EQ(seen["prefill"].first, 3);
  EXPECT_EQ(seen["decode"].first, 5);
  EXPECT_EQ(seen["layer"].first, (3 + 5) * 4);
  EXPECT_EQ(seen["decode.lightning.linear_scan"].first, 5 * 2);
  EXPECT_EQ(seen["prefill.lm_head"].first, 1);

  double sum_ms = summary["gap_ms"];
  double shares = summary["gap_share"];
  for (const json& stage : summary["stages"]) {
    const auto& [n, us] = seen[stage["name"]];
    EXPECT_EQ(stage["n"], n) << stage;
    EXPECT_NEAR(stage["total_ms"].get<double>() * 1e3, us, 1e-3 * n + 1e-6) << stage;
    EXPECT_LE(stage["median_ms"], stage["total_ms"]) << stage;
    sum_ms += stage["total_ms"].get<double>();
    shares += stage["share"].get<double>();
  }
  EXPECT_NEAR(sum_ms, summary["request_ms"].get<double>(), 1e-6);
  EXPECT_NEAR(shares, 1, 1e-9);
  EXPECT_GE(summary["gap_ms"], 0);

  // By begin, outer ones first: every event lies within the one that is open.
  std::vector<std::pair<double, double>> times;
  for (const json& event : events) {
    if (event["ph"] == "X") times.emplace_back(event["ts"], event["dur"]);
  }
  std::ranges::stable_sort(times, std::ranges::less{}, &std::pair<double, double>::first);
  std::vector<double> open_ends;
  for (const auto& [ts, dur] : times) {
    constexpr double kRounding = 1e-6;
    while (!open_ends.empty() && open_ends.back() <= ts + kRounding) open_ends.pop_back();
    if (!open_ends.empty()) {
      EXPECT_LE(ts + dur, open_ends.back() + kRounding);
    }
    open_ends.push_back(ts + dur);
  }
  EXPECT_NEAR(seen["request"].second / 1e3, summary["request_ms"].get<double>(),
              summary["gap_ms"].get<double>());
}

TEST_F(ProfileCommandTest, phases_carry_the_tokens_in_context_and_stages_their_layer) {
  ASSERT_EQ(profile({{"--trace", trace_}}).code, 0);
  std::vector<std::int64_t> tokens;
  std::vector<int> layers;
  const json events = json::parse(read_all(trace_))["traceEvents"];
  for (const json& event : events) {
    if (event.value("cat", "") == "phase") tokens.push_back(event["args"]["tokens"]);
    if (event["name"] == "decode.lightning.linear_scan") layers.push_back(event["args"]["layer"]);
  }
  EXPECT_EQ(tokens, (std::vector<std::int64_t>{300, 0, 128, 256, 300, 301, 302, 303, 304}));
  EXPECT_EQ(layers, (std::vector<int>{1, 2, 1, 2, 1, 2, 1, 2, 1, 2}));
}

TEST_F(ProfileCommandTest, the_table_ends_with_the_request) {
  const Finished run = profile();
  ASSERT_EQ(run.code, 0) << run.err;
  for (const char* text : {"median ms", "prefill.lightning.qkv", "between stages", "request"}) {
    EXPECT_NE(run.out.find(text), std::string::npos) << text << "\n" << run.out;
  }
}

TEST_F(ProfileCommandTest, the_command_for_nsight_can_be_printed) {
  const Finished run = profile({{"--nsight", "ncu"},
                                {"--stage", "prefill.lightning.qkv"},
                                {"--report", "a report"},
                                {"--json", ""},
                                {"--print", ""},
                                {"--device", "cuda"}});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_TRUE(run.out.starts_with("ncu --nvtx --nvtx-include sala@prefill.lightning.qkv/ "))
      << run.out;
  for (const char* text : {" -o 'a report' ", " profile ", " --length 300", " --device cuda",
                           " --weights random:1", " --cold --json --under ncu\n"}) {
    EXPECT_NE(run.out.find(text), std::string::npos) << text << " is not in " << run.out;
  }
  EXPECT_EQ(run.out.find("--print"), std::string::npos) << "it would call itself";
}

/// Tools that are scripts on the PATH: each runs the program that it is given, as the real ones do,
/// and then `tail`. The reports that they "make" are files of the test.
class NsightTest : public ProfileCommandTest {
 protected:
  void SetUp() override {
    ProfileCommandTest::SetUp();
    path_ = std::getenv("PATH");
    std::filesystem::create_directories(folder_ / "bin");
    setenv("PATH", fmt::format("{}:{}", (folder_ / "bin").string(), path_).c_str(), 1);
    std::ofstream(folder_ / "kernels.csv") << ncu_csv();
    const NsysFile timeline(folder_ / "kernels.sqlite");
    make_tool("ncu", "");
    make_tool("nsys", "");
  }
  void TearDown() override {
    setenv("PATH", path_.c_str(), 1);
    ProfileCommandTest::TearDown();
  }
  void make_tool(const std::string& name, const std::string& tail) const {
    const auto script = folder_ / "bin" / name;
    std::ofstream(script) << fmt::format(
        "#!/bin/sh\n"
        "case $1 in\n"
        "  --import) cat {0}/kernels.csv; exit ;;\n"
        "  export) for word; do case $word in --output=*) cp {0}/kernels.sqlite \"${{word#*=}}\" "
        ";; "
        "esac; done; exit ;;\n"
        "esac\n"
        "echo \"$@\" > {0}/words\n"
        "while [ \"$1\" != -o ]; do shift; done\n"
        "echo \"==PROF== Connected\"\n"
        "touch \"$2.{1}-rep\"; shift 2\n"
        "\"$@\"\n"
        "{2}\n",
        folder_.string(), name, tail);
    std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  }
  Finished under(const std::string& tool, std::map<std::string, std::string> options = {}) const {
    options.insert({{"--nsight", tool}, {"--device", "auto"}, {"--report", folder_ / "report"}});
    return profile(options);
  }
  std::int64_t count(const std::string& sql) const {
    SQLite::Database db(db_.string());
    return db.execAndGet(sql).getInt64();
  }

  std::string path_;
};

TEST_F(NsightTest, ncu_is_run_read_back_and_linked_to_the_stored_run) {
  const Finished run = under("ncu", {{"--db", db_}, {"--json", ""}});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_NE(run.err.find("==PROF== Connected\n"), std::string::npos) << run.err;
  const std::string words = read_all(folder_ / "words");
  EXPECT_NE(words.find("sala@request/"), std::string::npos) << words;
  EXPECT_NE(words.find("--cold --json --under ncu"), std::string::npos) << words;
  const json result = json::parse(run.out);
  EXPECT_EQ(result["tool"], "ncu");
  EXPECT_EQ(result["n"], 4);
  EXPECT_EQ(result["kernels"][0]["stage"], "prefill.dense.qkv");
  EXPECT_DOUBLE_EQ(result["kernels"][0]["total_ms"], 1.0025);
  EXPECT_EQ(result["kernels"][0]["counters"]["dram__bytes.sum"]["mean"], 2e6);

  EXPECT_EQ(count("SELECT COUNT(*) FROM run JOIN cell USING(cell_id) WHERE kind='profile' AND "
                  "context_len=300 AND status='ok'"),
            1);
  EXPECT_EQ(count("SELECT SUM(n) FROM kernel_profile WHERE tool='ncu'"), 4);
  EXPECT_GT(count("SELECT COUNT(*) FROM sample JOIN metric USING(metric_id) WHERE "
                  "name='stage_ns'"),
            10);
  const Finished report = sala({"report", "--db", db_, "--format", "md", "-o", "-"});
  ASSERT_EQ(report.code, 0) << report.err;
  EXPECT_NE(report.out.find("| prefill.dense.qkv | norm | 2 | "), std::string::npos) << report.out;
  EXPECT_EQ(report.out.find("## Speed"), std::string::npos) << "profiled times are no speeds";
  EXPECT_EQ(report.out.find("between stages"), std::string::npos) << "nor those of its stages";
}

TEST_F(NsightTest, nsys_is_run_exported_and_read_back) {
  const Finished run = under("nsys");
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_NE(read_all(folder_ / "words").find("--nvtx-capture=request@sala"), std::string::npos);
  for (const char* text : {"prefill.dense.attend", "nvjet_tst_128x256_64x4_NNT", "all kernels",
                           "between kernels", "first kernel to the end of the last"}) {
    EXPECT_NE(run.out.find(text), std::string::npos) << text << " is not in " << run.out;
  }
  EXPECT_TRUE(std::filesystem::exists(folder_ / "report.sqlite"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "report.part.sqlite"));
}

TEST_F(NsightTest, a_report_made_elsewhere_is_shown_and_linked) {
  ASSERT_EQ(profile({{"--db", db_}}).code, 0);
  SQLite::Database db(db_.string());
  const std::string uid = db.execAndGet("SELECT uid FROM run").getString();
  const Finished shown = sala({"profile", "--read", folder_ / "kernels.sqlite"});
  ASSERT_EQ(shown.code, 0) << shown.err;
  EXPECT_NE(shown.out.find("prefill.dense.qkv"), std::string::npos) << shown.out;
  EXPECT_EQ(count("SELECT COUNT(*) FROM kernel_profile"), 0);
  const Finished linked =
      sala({"profile", "--read", folder_ / "kernels.sqlite", "--db", db_, "--run", uid});
  ASSERT_EQ(linked.code, 0) << linked.err;
  EXPECT_EQ(linked.out, shown.out);
  EXPECT_EQ(count("SELECT SUM(n) FROM kernel_profile WHERE tool='nsys'"), 8);

  const auto refused = [&](const std::vector<std::string>& command, const std::string& part) {
    const Finished run = sala(command);
    EXPECT_EQ(run.code, 2);
    EXPECT_NE(run.err.find(part), std::string::npos) << run.err;
  };
  refused({"profile", "--read", folder_ / "kernels.csv", "--db", db_}, "--run");
  refused({"profile", "--read", folder_ / "kernels.csv", "--db", db_, "--run", "no"}, "'no'");
  refused({"profile", "--read", folder_ / "suite.toml"}, ".ncu-rep");
  refused({"profile", "--read", folder_ / "kernels.csv", "--nsight", "ncu"}, "--nsight");
}

TEST_F(NsightTest, a_tool_that_fails_is_named_with_what_it_said) {
  const auto fails = [&](const std::string& tail, const std::string& part,
                         const std::string& report = "report") {
    make_tool("ncu", tail);
    const Finished run = under("ncu", {{"--report", folder_ / report}});
    EXPECT_EQ(run.code, 2);
    EXPECT_EQ(run.out, "");
    EXPECT_NE(run.err.find(part), std::string::npos) << run.err;
  };
  fails("echo broken; exit 7", "exit code 7");
  fails("echo '==ERROR== ERR_NVGPUCTRPERM - no permission'", "NVreg_RestrictProfilingToAdminUsers");
  fails("kill -9 $$", "signal 9");
  std::ofstream(folder_ / "old.ncu-rep") << "of another day";
  fails(fmt::format("rm {}", (folder_ / "old.ncu-rep").string()), "captured nothing", "old");
  std::ofstream(folder_ / "kernels.csv") << "==ERROR== The file is broken\n";
  fails("", "no header");
}

TEST_F(NsightTest, a_program_that_fails_under_a_tool_is_an_error) {
  const Finished run = under("ncu", {{"--memory-limit", "1"}, {"--db", db_}});
  EXPECT_EQ(run.code, 2);
  EXPECT_NE(run.err.find("does not fit"), std::string::npos) << run.err;
  EXPECT_EQ(run.out, "");
}

TEST_F(ProfileCommandTest, a_profile_is_stored_apart_from_speeds) {
  const Finished run = profile({{"--db", db_}, {"--json", ""}});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_NE(run.err.find(json::parse(run.out)["run"].get<std::string>()), std::string::npos);
  const Finished report = sala({"report", "--db", db_, "--format", "md", "-o", "-"});
  ASSERT_EQ(report.code, 0) << report.err;
  for (const char* text : {"## Profile", "prefill.lightning.qkv", "between stages"}) {
    EXPECT_NE(report.out.find(text), std::string::npos) << text << "\n" << report.out;
  }
  EXPECT_EQ(report.out.find("## Speed"), std::string::npos);
}

TEST_F(ProfileCommandTest, a_tool_that_is_missing_is_named_with_where_it_was_looked_for) {
  const std::string path = std::getenv("PATH");
  setenv("PATH", "/nowhere", 1);
  const Finished doctor = sala({"doctor"});
  const Finished run = profile({{"--nsight", "nsys"}, {"--device", "auto"}});
  setenv("PATH", path.c_str(), 1);
  ASSERT_EQ(doctor.code, 0) << doctor.err;
  if (doctor.out.find("nsys                 not found") == std::string::npos) {
    GTEST_SKIP() << "nsys is on this machine";
  }
  EXPECT_EQ(run.code, 2);
  for (const char* text : {"[nsys]", "/usr/local/cuda/bin", "nsight-systems", "--print"}) {
    EXPECT_NE(run.err.find(text), std::string::npos) << text << " is not in " << run.err;
  }
}

TEST_F(ProfileCommandTest, nsight_without_what_it_needs_is_refused) {
  expect_refused({{"--nsight", "gdb"}, {"--device", "cuda"}}, "'gdb'");
  expect_refused({{"--nsight", "nsys"}, {"--stage", "decode.qkv"}, {"--device", "cuda"}},
                 "--stage");
  expect_refused({{"--nsight", "nsys"}}, "--device");
  expect_refused({{"--print", ""}}, "--nsight");
}

TEST_F(ProfileCommandTest, what_cannot_be_done_is_refused_and_leaves_no_file) {
  expect_refused({{"--length", "0"}}, "'0'");
  expect_refused({{"--length", "4q"}}, "'4q'");
  expect_refused({{"--length", "4000G"}}, "16M");
  expect_refused({{"--length", "16M"}, {"--memory-limit", "1G"}}, "does not fit");
  expect_refused({{"--steps", "-1"}}, "--steps");
  expect_refused({{"--trace", folder_ / "nowhere" / "trace.json"}}, "nowhere");
  expect_refused({{"--trace", folder_}}, "is a folder");
  expect_refused({{"--trace", trace_}, {"--memory-limit", "1"}}, "does not fit");
  expect_refused({{"--trace", trace_}, {"--device", "tpu"}}, "tpu");
  EXPECT_FALSE(std::filesystem::exists(trace_));
}

}  // namespace
}  // namespace sala::testing
