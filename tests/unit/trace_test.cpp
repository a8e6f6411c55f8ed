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
    const Span span(trace, "qkv", 100);
  }
  {
    const Span span(trace, "qkv", 20);
  }
  trace.set_phase("decode");
  {
    const Span span(trace, "qkv", 1);
  }
  const auto& stages = trace.stages();
  ASSERT_EQ(stages.size(), 2U);
  EXPECT_EQ(stages[0].name, "prefill.qkv");
  EXPECT_EQ(stages[0].calls, 2);
  EXPECT_EQ(stages[0].flops, 120);
  EXPECT_EQ(stages[1].name, "decode.qkv");
  trace.clear();
  EXPECT_TRUE(trace.stages().empty());
}

TEST(Trace, the_clock_of_a_device_gives_every_stage_its_time) {
  CountingClock clock;
  Trace trace(&clock);
  {
    const Span span(trace, "a");
  }
  {
    const Span span(trace, "b", 7);
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
