// The policy file, and how the verdicts of many numbers become one.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "harness/compare/policy.h"
#include "tests/expect_error.h"

namespace sala {
namespace {

using testing::expect_error;

class PolicyFile : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  Policy load(const std::string& text) const {
    std::ofstream(path_) << text;
    return load_policy(path_);
  }
  std::filesystem::path path_ = std::filesystem::temp_directory_path() /
                                ("sala-policy-" + std::to_string(getpid()) + ".toml");
};

TEST_F(PolicyFile, the_default_judges_speed_memory_and_accuracy) {
  const Policy policy = load_policy(SALA_TEST_SOURCE_DIR "/data/gate.toml");
  EXPECT_EQ(policy.looks, (std::vector<int>{6, 10, 16}));
  for (const char* metric : {"ttft_ns", "tpot_ns", "device_peak_bytes", "accuracy"}) {
    EXPECT_TRUE(std::any_of(policy.items.begin(), policy.items.end(), [&](const PolicyItem& item) {
      return item.metric == metric && item.tier == Tier::critical;
    })) << metric;
  }
}

TEST_F(PolicyFile, what_cannot_be_read_is_refused_by_name) {
  const std::string item = "[[item]]\nmetric = \"ttft_ns\"\n";
  expect_error([&] { load(""); }, {"[[item]]"});
  expect_error([&] { load(item); }, {"rel"});
  expect_error([&] { load(item + "rel = -1\n"); }, {"rel", "from 0"});
  expect_error([&] { load(item + "rel = 0.1\ntier = \"urgent\"\n"); }, {"urgent", "critical"});
  expect_error([&] { load(item + "rel = 0.1\nspeed = 1\n"); }, {"item.speed"});
  expect_error([&] { load("alpha = 2\n" + item + "rel = 0.1\n"); }, {"alpha"});
  expect_error([&] { load("[pairs]\nlooks = [6, 3]\n" + item + "rel = 0.1\n"); }, {"looks"});
  expect_error([&] { load("alpha = \n"); }, {path_.string(), "line 1"});
}

GateItem item(Tier tier, ItemVerdict verdict, bool beyond_tolerance = false) {
  GateItem out{.task = "speed", .tier = tier};
  out.decision.verdict = verdict;
  out.decision.beyond_tolerance = beyond_tolerance;
  return out;
}

TEST(JointVerdict, each_consequence_follows_the_table) {
  const auto of = [](const GateItem& one, bool strict = false) {
    return joint_verdict({item(Tier::critical, ItemVerdict::same), one}, strict);
  };
  using V = ItemVerdict;
  EXPECT_EQ(of(item(Tier::critical, V::better)), GateVerdict::pass);
  EXPECT_EQ(of(item(Tier::critical, V::worse, true)), GateVerdict::block);
  EXPECT_EQ(of(item(Tier::critical, V::worse)), GateVerdict::warn);
  EXPECT_EQ(of(item(Tier::critical, V::worse), true), GateVerdict::block);
  EXPECT_EQ(of(item(Tier::critical, V::ambiguous)), GateVerdict::inconclusive);
  EXPECT_EQ(of(item(Tier::critical, V::missing)), GateVerdict::incomplete);
  EXPECT_EQ(of(item(Tier::critical, V::invalid)), GateVerdict::incomplete);
  EXPECT_EQ(of(item(Tier::supporting, V::worse, true)), GateVerdict::warn);
  EXPECT_EQ(of(item(Tier::supporting, V::worse, true), true), GateVerdict::block);
  EXPECT_EQ(of(item(Tier::supporting, V::worse), true), GateVerdict::pass);
  EXPECT_EQ(of(item(Tier::supporting, V::ambiguous), true), GateVerdict::pass);
  EXPECT_EQ(of(item(Tier::supporting, V::missing)), GateVerdict::warn);
  EXPECT_EQ(of(item(Tier::supporting, V::missing), true), GateVerdict::incomplete);
  EXPECT_EQ(of(item(Tier::advisory, V::worse, true), true), GateVerdict::pass);
}

TEST(JointVerdict, the_gravest_item_decides_and_nothing_judged_is_no_pass) {
  const GateItem blocks = item(Tier::critical, ItemVerdict::worse, true);
  const GateItem lacks = item(Tier::critical, ItemVerdict::missing);
  const GateItem unsure = item(Tier::critical, ItemVerdict::ambiguous);
  EXPECT_EQ(joint_verdict({unsure, lacks, blocks}, false), GateVerdict::block);
  EXPECT_EQ(joint_verdict({unsure, lacks}, false), GateVerdict::incomplete);
  EXPECT_EQ(joint_verdict({}, false), GateVerdict::incomplete);
}

TEST(JointVerdict, exit_codes_are_those_of_the_manual) {
  EXPECT_EQ(exit_code(GateVerdict::pass), 0);
  EXPECT_EQ(exit_code(GateVerdict::block), 1);
  EXPECT_EQ(exit_code(GateVerdict::warn), 2);
  EXPECT_EQ(exit_code(GateVerdict::inconclusive), 2);
  EXPECT_EQ(exit_code(GateVerdict::incomplete), 3);
  EXPECT_EQ(exit_code(GateVerdict::not_comparable), 4);
}

TEST(JointVerdict, a_worse_that_many_looks_explain_becomes_ambiguous) {
  std::vector<GateItem> items(10, item(Tier::critical, ItemVerdict::same));
  for (GateItem& one : items) one.decision.p = 0.5;
  items[3].decision = {.verdict = ItemVerdict::worse, .p = 0.02};
  adjust_for_multiplicity(items, 0.05);
  EXPECT_EQ(items[3].decision.verdict, ItemVerdict::ambiguous);
  items[3].decision = {.verdict = ItemVerdict::worse, .p = 0.004};
  adjust_for_multiplicity(items, 0.05);
  EXPECT_EQ(items[3].decision.verdict, ItemVerdict::worse);
}

TEST(JointVerdict, memory_has_no_chance_and_is_not_adjusted) {
  std::vector<GateItem> items(10, item(Tier::critical, ItemVerdict::worse, true));
  adjust_for_multiplicity(items, 0.05);
  for (const GateItem& one : items) EXPECT_EQ(one.decision.verdict, ItemVerdict::worse);
}

}  // namespace
}  // namespace sala
