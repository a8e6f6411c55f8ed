// `sala profile` on a tiny model: the table, the trace file, and what is refused.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

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
                           " --weights random:1", " --json ", " --cold\n"}) {
    EXPECT_NE(run.out.find(text), std::string::npos) << text << " is not in " << run.out;
  }
  EXPECT_EQ(run.out.find("--print"), std::string::npos) << "it would call itself";
}

TEST_F(ProfileCommandTest, nsight_runs_this_program) {
  const auto fake = folder_ / "nsys";
  std::ofstream(fake) << "#!/bin/sh\nfor word; do echo \"$word\"; done\nexit 7\n";
  std::filesystem::permissions(fake, std::filesystem::perms::owner_all);
  const std::string path = std::getenv("PATH");
  setenv("PATH", (folder_.string() + ":" + path).c_str(), 1);
  const Finished run = profile({{"--nsight", "nsys"}, {"--device", "cuda"}});
  setenv("PATH", "/nowhere", 1);
  const Finished without = profile({{"--nsight", "nsys"}, {"--device", "cuda"}});
  setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(run.code, 7) << "the tool's exit code";
  EXPECT_TRUE(run.out.starts_with("profile\n--trace=cuda,nvtx\n")) << run.out;
  EXPECT_NE(run.out.find("--nvtx-capture=request@sala\n"), std::string::npos) << run.out;
  EXPECT_EQ(without.code, 2);
  EXPECT_NE(without.err.find("--print"), std::string::npos) << without.err;
}

TEST_F(ProfileCommandTest, nsight_without_what_it_needs_is_refused) {
  expect_refused({{"--nsight", "gdb"}, {"--device", "cuda"}}, "'gdb'");
  expect_refused({{"--nsight", "ncu"}, {"--device", "cuda"}}, "--stage");
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
