// The table of stages and the trace file of a made-up timeline.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "harness/profile/chrome_trace.h"
#include "harness/profile/stage_table.h"
#include "tests/expect_error.h"

namespace sala::testing {
namespace {

using nlohmann::json;

/// 10 us: attend of 1001, 3000 and 2000 ns in layers 0, 1, 0 of two phases, then lm_head of 500.
Output small_output() {
  Output output;
  output.timing.total_ns = 10000;
  output.stages = {{"prefill.dense.attend", 6001, 3, 0, 0, "dense"},
                   {"prefill.lm_head", 500, 1, 0, 0, ""}};
  constexpr std::int64_t kOrigin = 123456789;
  output.timeline.stages = {{0, {kOrigin, 1001}, 0},
                            {0, {kOrigin + 1500, 3000}, 1},
                            {0, {kOrigin + 5000, 2000}, 0},
                            {1, {kOrigin + 7250, 500}, -1}};
  output.timeline.ranges = {{"prefill", RangeKind::phase, 0, 0, 2},
                            {"layer", RangeKind::layer, 0, 0, 1},
                            {"layer", RangeKind::layer, 1, 1, 2},
                            {"prefill", RangeKind::phase, 64, 2, 3},
                            {"decode", RangeKind::phase, 65, 4, 4}};
  return output;
}

TEST(Profile, stages_and_what_lies_between_them_make_the_request) {
  const StageTable table = stage_table(small_output());
  ASSERT_EQ(table.rows.size(), 2U);
  EXPECT_EQ(table.rows[0].name, "prefill.dense.attend");
  EXPECT_EQ(table.rows[0].kind, RangeKind::attention);
  EXPECT_EQ(table.rows[0].n, 3);
  EXPECT_EQ(table.rows[0].median_ns, 2000);
  EXPECT_DOUBLE_EQ(table.rows[0].share, 0.6001);
  EXPECT_EQ(table.rows[1].kind, RangeKind::gemm);
  EXPECT_EQ(table.gap_ns, 10000 - 6001 - 500);
  EXPECT_NEAR(table.rows[0].share + table.rows[1].share + table.gap_share, 1, 1e-12);
}

TEST(Profile, the_median_of_two_lies_between_them) {
  Output output = small_output();
  output.timeline.stages.erase(output.timeline.stages.begin() + 2);
  EXPECT_EQ(stage_table(output).rows[0].median_ns, (1001 + 3000) / 2.0);
}

TEST(Profile, a_trace_has_microseconds_from_its_first_stage) {
  const json trace = json::parse(chrome_trace(small_output(), "a \"model\"", "cpu"));
  EXPECT_EQ(trace["displayTimeUnit"], "ns");
  const json& events = trace["traceEvents"];
  ASSERT_EQ(events.size(), 2U + 4 + 4) << "a range without stages has no time";
  EXPECT_EQ(events[0]["ph"], "M");
  EXPECT_EQ(events[0]["name"], "process_name");
  EXPECT_EQ(events[0]["args"]["name"], "a \"model\"");
  EXPECT_EQ(events[1]["args"]["name"], "host");
  const json& prefill = events[2];
  EXPECT_EQ(prefill["ph"], "X");
  EXPECT_EQ(prefill["cat"], "phase");
  EXPECT_EQ(prefill["ts"], 0);
  EXPECT_DOUBLE_EQ(prefill["dur"], 4.5);
  EXPECT_EQ(events[4]["args"]["layer"], 1);
  EXPECT_EQ(events[5]["args"]["tokens"], 64);
  const json& attend = events[6];
  EXPECT_DOUBLE_EQ(attend["dur"], 1.001);
  EXPECT_EQ(attend["cat"], "attention");
  const json& head = events[9];
  EXPECT_DOUBLE_EQ(head["ts"], 7.25);
  EXPECT_FALSE(head.contains("args")) << "it belongs to no layer";
}

TEST(Profile, a_device_has_its_own_track) {
  const json events = json::parse(chrome_trace(small_output(), "m", "cuda:0"))["traceEvents"];
  for (const json& event : events) EXPECT_EQ(event["tid"], 10000);
  EXPECT_EQ(events[1]["args"]["name"], "cuda:0 stream");
}

TEST(Profile, a_trace_that_no_viewer_opens_is_refused) {
  const std::string whole = chrome_trace(small_output(), "m", "cpu");
  EXPECT_EQ(chrome_trace(small_output(), "m", "cpu", whole.size()), whole);
  expect_error([&] { chrome_trace(small_output(), "m", "cpu", whole.size() - 1); },
               {"trace", "shorter length"});
}

}  // namespace
}  // namespace sala::testing
