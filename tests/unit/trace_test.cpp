// Stage times by the host's clock and by a device's.
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/trace.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

namespace sala::testing {
namespace {

/// The n-th stage that ends takes n ns; between two stages lie 10.
class CountingClock final : public StageClock {
 public:
  std::size_t label(const std::string& name, RangeKind kind) override {
    const auto found = std::find(names_.begin(), names_.end(), name);
    const auto number = static_cast<std::size_t>(found - names_.begin());
    if (found == names_.end()) {
      names_.push_back(name);
      kinds.push_back(kind);
    }
    return number;
  }
  void begin(std::size_t label, int layer) override {
    begun.push_back(names_[label]);
    calls.push_back(fmt::format("{}({}", names_[label], layer));
  }
  void end() override {
    const auto ns = static_cast<std::int64_t>(begun.size());
    times_.push_back({now_ + 10, ns});
    now_ += 10 + ns;
    calls.emplace_back(")");
  }
  void open(std::size_t label, std::int64_t payload) override {
    calls.push_back(fmt::format("{}[{}", names_[label], payload));
  }
  void close() override { calls.emplace_back("]"); }
  std::vector<StageInterval> take() override { return std::exchange(times_, {}); }

  std::vector<std::string> begun;
  std::vector<std::string> calls;
  std::vector<RangeKind> kinds;

 private:
  std::vector<std::string> names_;
  std::vector<StageInterval> times_;
  std::int64_t now_ = 0;
};

TEST(Trace, stages_add_up_under_phase_and_name) {
  Trace trace;
  {
    const Span span(trace, "qkv", {100, 5});
  }
  {
    const Span span(trace, "qkv", {20, 7});
  }
  trace.set_phase("decode");
  {
    const Span span(trace, "qkv", {1, 1});
  }
  const auto& stages = trace.stages();
  ASSERT_EQ(stages.size(), 2U);
  EXPECT_EQ(stages[0].name, "prefill.qkv");
  EXPECT_EQ(stages[0].calls, 2);
  EXPECT_EQ(stages[0].flops, 120);
  EXPECT_EQ(stages[0].bytes, 12);
  EXPECT_EQ(stages[1].name, "decode.qkv");
  trace.clear();
  EXPECT_TRUE(trace.stages().empty());
}

TEST(Trace, stages_of_a_layer_carry_its_kind) {
  Trace trace;
  for (const char* kind : {"lightning", "dense", "lightning"}) {
    const LayerKindScope scope(trace, kind);
    const Span span(trace, "qkv");
  }
  {
    const Span span(trace, "qkv");
  }
  const auto& stages = trace.stages();
  ASSERT_EQ(stages.size(), 3U);
  EXPECT_EQ(stages[0].name, "prefill.lightning.qkv");
  EXPECT_EQ(stages[0].layer_kind, "lightning");
  EXPECT_EQ(stages[0].calls, 2);
  EXPECT_EQ(stages[1].name, "prefill.dense.qkv");
  EXPECT_EQ(stages[2].name, "prefill.qkv");
  EXPECT_EQ(stages[2].layer_kind, "");
}

TEST(Trace, equal_names_at_different_addresses_are_one_stage) {
  const std::string first = "attend";
  const std::string second = "attend";
  Trace trace;
  for (const std::string* name : {&first, &second, &first}) {
    const Span span(trace, name->c_str());
  }
  ASSERT_EQ(trace.stages().size(), 1U);
  EXPECT_EQ(trace.stages()[0].calls, 3);
}

TEST(Trace, while_off_no_clock_is_read_and_nothing_is_kept) {
  CountingClock clock;
  Trace trace(&clock);
  trace.set_on(false);
  {
    const Span span(trace, "a", {1, 1});
  }
  EXPECT_TRUE(clock.begun.empty());
  EXPECT_TRUE(trace.stages().empty());
  trace.set_on(true);
  {
    const Span span(trace, "a");
  }
  EXPECT_EQ(trace.stages().size(), 1U);
}

TEST(Trace, costs_of_all_stages_add_up) {
  Trace trace;
  for (int i = 0; i < 3; ++i) {
    const Span a(trace, "a", {2, 3});
  }
  {
    const Span b(trace, "b", {10, 100});
  }
  EXPECT_EQ(trace.total_cost().flops, 16);
  EXPECT_EQ(trace.total_cost().bytes, 109);
}

TEST(Trace, what_a_span_takes_is_measured_and_leaves_nothing_behind) {
  Trace trace;
  const double ns = trace.span_ns();
  EXPECT_GT(ns, 0);
  EXPECT_LT(ns, 1e6);
  EXPECT_TRUE(trace.stages().empty());
}

TEST(Trace, the_clock_of_a_device_gives_every_stage_its_time) {
  CountingClock clock;
  Trace trace(&clock);
  {
    const Span span(trace, "a");
  }
  {
    const Span span(trace, "b", {7, 0});
  }
  trace.settle();
  {
    const Span span(trace, "a");
  }
  const auto& stages = trace.stages();
  ASSERT_EQ(stages.size(), 2U);
  EXPECT_EQ(stages[0].ns, 1 + 3);
  EXPECT_EQ(stages[0].calls, 2);
  EXPECT_EQ(stages[1].ns, 2);
  EXPECT_EQ(stages[1].flops, 7);
  EXPECT_EQ(clock.begun, (std::vector<std::string>{"prefill.a", "prefill.b", "prefill.a"}));
}

TEST(Trace, clearing_forgets_stages_that_were_never_settled) {
  CountingClock clock;
  Trace trace(&clock);
  {
    const Span span(trace, "a");
  }
  trace.clear();
  {
    const Span span(trace, "b");
  }
  ASSERT_EQ(trace.stages().size(), 1U);
  EXPECT_EQ(trace.stages()[0].ns, 2);
}

/// Two chunks of two layers, settled after each, then a step without layers.
void run_small_request(Trace& trace) {
  const RangeScope request(trace, "request", RangeKind::phase, 8);
  for (const int chunk : {0, 4}) {
    const RangeScope phase(trace, "prefill", RangeKind::phase, chunk);
    for (const int layer : {0, 1}) {
      const RangeScope range(trace, "layer", RangeKind::layer, layer);
      const LayerKindScope kind(trace, "lightning");
      const Span qkv(trace, "qkv");
    }
    trace.settle();
  }
  const Span head(trace, "lm_head");
}

TEST(Trace, ranges_reach_the_clock_around_their_stages_and_take_no_time) {
  CountingClock clock;
  Trace trace(&clock);
  run_small_request(trace);
  EXPECT_EQ(clock.calls, (std::vector<std::string>{"request[8", "prefill[0",
                                                   "layer[0",   "prefill.lightning.qkv(0",
                                                   ")",         "]",
                                                   "layer[1",   "prefill.lightning.qkv(1",
                                                   ")",         "]",
                                                   "]",         "prefill[4",
                                                   "layer[0",   "prefill.lightning.qkv(0",
                                                   ")",         "]",
                                                   "layer[1",   "prefill.lightning.qkv(1",
                                                   ")",         "]",
                                                   "]",         "prefill.lm_head(-1",
                                                   ")",         "]"}));
  EXPECT_EQ(clock.kinds,
            (std::vector<RangeKind>{RangeKind::phase, RangeKind::phase, RangeKind::layer,
                                    RangeKind::gemm, RangeKind::gemm}));
  ASSERT_EQ(trace.stages().size(), 2U);
  EXPECT_EQ(trace.stages()[0].ns, 1 + 2 + 3 + 4);
  EXPECT_TRUE(trace.timeline().stages.empty()) << "kept though nobody asked";
}

TEST(Trace, a_timeline_has_every_stage_in_its_ranges) {
  CountingClock clock;
  Trace trace(&clock);
  trace.set_keeps_timeline(true);
  run_small_request(trace);
  const Timeline& timeline = trace.timeline();
  ASSERT_EQ(timeline.stages.size(), 5U);
  EXPECT_EQ(timeline.stages[3].layer, 1);
  EXPECT_EQ(timeline.stages[3].time.start_ns, 4 * 10 + 1 + 2 + 3);
  EXPECT_EQ(timeline.stages[4].layer, -1);
  EXPECT_EQ(timeline.stages[4].row, 1U);
  std::vector<std::string> ranges;
  ranges.reserve(timeline.ranges.size());
  for (const Timeline::Range& range : timeline.ranges) {
    ranges.push_back(
        fmt::format("{} {}: {}-{}", range.name, range.payload, range.first, range.end));
  }
  EXPECT_EQ(ranges, (std::vector<std::string>{"request 8: 0-5", "prefill 0: 0-2", "layer 0: 0-1",
                                              "layer 1: 1-2", "prefill 4: 2-4", "layer 0: 2-3",
                                              "layer 1: 3-4"}));
  trace.clear();
  EXPECT_TRUE(trace.timeline().ranges.empty());
}

TEST(Trace, stages_on_the_host_follow_each_other) {
  Trace trace;
  trace.set_keeps_timeline(true);
  run_small_request(trace);
  std::int64_t end = 0;
  std::int64_t sum = 0;
  for (const Timeline::Stage& stage : trace.timeline().stages) {
    EXPECT_GE(stage.time.start_ns, end);
    end = stage.time.start_ns + stage.time.ns;
    sum += stage.time.ns;
  }
  EXPECT_EQ(sum, trace.stages()[0].ns + trace.stages()[1].ns);
}

}  // namespace
}  // namespace sala::testing
