// Stage times by the host's clock and by a device's.
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/trace.h"

#include <gtest/gtest.h>

#include <utility>

namespace sala::testing {
namespace {

/// The n-th stage that ends takes n ns.
class CountingClock final : public StageClock {
 public:
  void begin(const char* stage) override { begun.emplace_back(stage); }
  void end() override { times_.push_back(static_cast<std::int64_t>(begun.size())); }
  std::vector<std::int64_t> take() override { return std::exchange(times_, {}); }

  std::vector<std::string> begun;

 private:
  std::vector<std::int64_t> times_;
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
  EXPECT_EQ(clock.begun, (std::vector<std::string>{"a", "b", "a"}));
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

}  // namespace
}  // namespace sala::testing
