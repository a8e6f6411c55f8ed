// The decision for one number: what it calls worse, what it lets pass, and how often it is wrong.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "harness/compare/distributions.h"
#include "harness/compare/gate.h"
#include "tests/expect_error.h"

namespace sala {
namespace {

constexpr NoiseFloor kQuiet{.sd = 0.005, .n_pairs = 20};

SpeedRule rule(std::optional<NoiseFloor> floor = kQuiet) {
  SpeedRule out;
  out.tolerance = 0.03;
  out.floor = floor;
  return out;
}

/// Pairs whose candidate takes `factor` times as long, with a little spread around it.
std::vector<ValuePair> pairs(std::size_t n, double factor, double spread = 0.002) {
  std::vector<ValuePair> out;
  for (std::size_t i = 0; i < n; ++i) {
    const double wobble = i % 2 == 0 ? spread : -spread;
    out.push_back({1e8, 1e8 * factor * (1 + wobble)});
  }
  return out;
}

TEST(GateDecision, equal_times_are_the_same_at_the_first_look) {
  const SpeedProgress progress = decide_speed({.first = pairs(6, 1), .confirmation = {}}, rule());
  ASSERT_TRUE(progress.decision);
  EXPECT_EQ(progress.decision->verdict, ItemVerdict::same);
  EXPECT_EQ(progress.decision->n, 6);
}

TEST(GateDecision, too_few_pairs_ask_for_those_of_the_first_look) {
  const SpeedProgress progress = decide_speed({.first = pairs(5, 1.5), .confirmation = {}}, rule());
  EXPECT_FALSE(progress.decision);
  EXPECT_EQ(progress.first, 6U);
  EXPECT_EQ(progress.confirmation, 0U);
}

TEST(GateDecision, a_slowdown_is_worse_only_when_a_fresh_block_confirms_it) {
  const SpeedProgress suspicion =
      decide_speed({.first = pairs(6, 1.05), .confirmation = {}}, rule());
  EXPECT_FALSE(suspicion.decision);
  EXPECT_EQ(suspicion.confirmation, 6U);
  const auto confirmed =
      decide_speed({.first = pairs(6, 1.05), .confirmation = pairs(6, 1.06)}, rule());
  ASSERT_TRUE(confirmed.decision);
  EXPECT_EQ(confirmed.decision->verdict, ItemVerdict::worse);
  EXPECT_TRUE(confirmed.decision->beyond_tolerance);
  EXPECT_NEAR(confirmed.decision->change, 0.055, 1e-3);
  const auto refuted = decide_speed({.first = pairs(6, 1.02), .confirmation = pairs(6, 1)}, rule());
  ASSERT_TRUE(refuted.decision);
  EXPECT_EQ(refuted.decision->verdict, ItemVerdict::same);
}

TEST(GateDecision, a_real_slowdown_within_the_tolerance_is_worse_but_not_beyond_it) {
  const auto progress =
      decide_speed({.first = pairs(6, 1.02), .confirmation = pairs(6, 1.02)}, rule());
  ASSERT_TRUE(progress.decision);
  EXPECT_EQ(progress.decision->verdict, ItemVerdict::worse);
  EXPECT_FALSE(progress.decision->beyond_tolerance);
}

TEST(GateDecision, a_change_below_the_absolute_limit_never_counts) {
  SpeedRule of_small = rule();
  of_small.absolute = 6e6;
  const auto progress =
      decide_speed({.first = pairs(16, 1.05), .confirmation = pairs(16, 1.05)}, of_small);
  ASSERT_TRUE(progress.decision);
  EXPECT_NE(progress.decision->verdict, ItemVerdict::worse);
}

TEST(GateDecision, noise_as_large_as_the_change_hides_it) {
  const NoiseFloor loud{.sd = 0.08, .n_pairs = 20};
  const auto progress =
      decide_speed({.first = pairs(6, 1.05), .confirmation = pairs(6, 1.05)}, rule(loud));
  ASSERT_TRUE(progress.decision);
  EXPECT_EQ(progress.decision->verdict, ItemVerdict::same);  // 2 sd / sqrt(6) is 6.5 %
}

TEST(GateDecision, nothing_is_called_worse_without_a_noise_floor) {
  const auto progress =
      decide_speed({.first = pairs(6, 1.5), .confirmation = {}}, rule(std::nullopt));
  ASSERT_TRUE(progress.decision);
  EXPECT_EQ(progress.decision->verdict, ItemVerdict::ambiguous);
}

TEST(GateDecision, a_faster_candidate_is_better) {
  const auto progress = decide_speed({.first = pairs(6, 0.9), .confirmation = {}}, rule());
  ASSERT_TRUE(progress.decision);
  EXPECT_EQ(progress.decision->verdict, ItemVerdict::better);
}

TEST(GateDecision, one_stored_pair_is_judged_by_the_floor_at_the_level_of_two_blocks) {
  SpeedRule stored = rule();
  stored.looks = {1};
  stored.pooled = true;
  stored.confirmable = false;
  const auto verdict = [&](double factor) {
    return decide_speed({.first = pairs(1, factor, 0), .confirmation = {}}, stored)
        .decision->verdict;
  };
  // t(99.75 %, 19 degrees) is 3.17, so 1.6 % is the least that counts.
  EXPECT_EQ(verdict(1.0), ItemVerdict::same);
  EXPECT_EQ(verdict(1.015), ItemVerdict::ambiguous);
  EXPECT_EQ(verdict(1.05), ItemVerdict::worse);
  stored.floor = std::nullopt;
  EXPECT_EQ(verdict(1.05), ItemVerdict::ambiguous);
}

TEST(GateDecision, memory_must_grow_by_more_than_both_limits) {
  EXPECT_EQ(decide_memory({100e6, 102e6}, 0.005, 65536).verdict, ItemVerdict::worse);
  EXPECT_EQ(decide_memory({100e6, 100.4e6}, 0.005, 65536).verdict, ItemVerdict::same);
  EXPECT_EQ(decide_memory({1e6, 1.06e6}, 0.005, 65536).verdict, ItemVerdict::same);
  EXPECT_EQ(decide_memory({100e6, 98e6}, 0.005, 65536).verdict, ItemVerdict::better);
  EXPECT_EQ(decide_memory({0, 1e6}, 0.01, 65536).verdict, ItemVerdict::worse);
}

/// n prompts, all answered by the baseline; the candidate loses the first `lost`.
Decision accuracy(std::size_t n, std::size_t lost, bool identical = false) {
  ClusteredScores baseline;
  std::vector<double> candidate;
  for (std::size_t i = 0; i < n; ++i) {
    baseline.scores.push_back(1);
    baseline.clusters.push_back(std::to_string(i));
    candidate.push_back(i < lost ? 0 : 1);
  }
  return decide_accuracy(baseline, candidate, identical, 0.02, 0.05);
}

TEST(GateDecision, lost_prompts_are_worse_by_the_exact_one_sided_test) {
  EXPECT_EQ(accuracy(100, 4).verdict, ItemVerdict::ambiguous);  // p = 1/16
  const Decision five = accuracy(100, 5);
  EXPECT_EQ(five.verdict, ItemVerdict::worse);
  EXPECT_DOUBLE_EQ(*five.p, 1.0 / 32);
  EXPECT_TRUE(five.beyond_tolerance);
  EXPECT_FALSE(accuracy(500, 5).beyond_tolerance);
}

TEST(GateDecision, equal_scores_pass_when_prompts_are_many_or_answers_identical) {
  EXPECT_EQ(accuracy(50, 0).verdict, ItemVerdict::ambiguous);
  EXPECT_EQ(accuracy(50, 0, true).verdict, ItemVerdict::same);
  EXPECT_EQ(accuracy(200, 0).verdict, ItemVerdict::same);
}

TEST(GateDecision, students_t_matches_known_values) {
  EXPECT_NEAR(student_t_cdf(2.015048, 5), 0.95, 1e-6);
  EXPECT_NEAR(student_t_cdf(-2.015048, 5), 0.05, 1e-6);
  EXPECT_DOUBLE_EQ(student_t_cdf(0, 7), 0.5);
}

/// A machine on which one process differs from the next: offsets between processes, and a share of
/// processes that are slow by a tenth. Every item has noise of its own.
class Machine {
 public:
  Machine(double sd, std::uint32_t seed) : sd_(sd), generator_(seed) {}

  /// Pairs for every item; the candidate of item i takes slowdown(i) times as long.
  template <typename Slowdown>
  void append(std::vector<GateItem>& items, PairBlock block, const Slowdown& slowdown) {
    for (std::size_t i = 0; i < items.size(); ++i) {
      const ValuePair pair{1e8 * process(), 1e8 * process() * slowdown(i)};
      PairBlocks& blocks = items[i].blocks;
      (block == PairBlock::first ? blocks.first : blocks.confirmation).push_back(pair);
    }
  }

 private:
  double process() {
    const bool is_disturbed = std::uniform_real_distribution<double>()(generator_) < 0.01;
    return std::exp(std::normal_distribution<double>(0, sd_)(generator_)) *
           (is_disturbed ? 1.1 : 1);
  }

  double sd_;
  std::mt19937 generator_;
};

/// Two cells' times to the first token and per token, and eight stages.
std::vector<GateItem> items_of_a_gate() {
  std::vector<GateItem> items;
  for (int i = 0; i < 12; ++i) {
    GateItem item{.task = "speed", .length = 4096, .side = "model", .metric = "ttft_ns"};
    item.tier = i < 4 ? Tier::critical : Tier::supporting;
    item.rule = rule();
    items.push_back(item);
  }
  return items;
}

/// One whole gate: a floor from twenty pairs of identical binaries, then the gate's own loop.
template <typename Slowdown>
GateVerdict simulate(double sd, std::uint32_t seed, bool strict, const Slowdown& slowdown) {
  Machine machine(sd, seed);
  std::vector<GateItem> calibration = items_of_a_gate();
  for (int i = 0; i < 20; ++i) {
    machine.append(calibration, PairBlock::first, [](std::size_t) { return 1.0; });
  }
  std::vector<GateItem> items = items_of_a_gate();
  for (std::size_t i = 0; i < items.size(); ++i) {
    items[i].rule.floor =
        NoiseFloor{.sd = sample_deviation(log_ratios(calibration[i].blocks.first)), .n_pairs = 20};
  }
  decide_all(items, strict, [&](PairBlock block) -> std::optional<std::string> {
    machine.append(items, block, slowdown);
    return std::nullopt;
  });
  adjust_for_multiplicity(items, 0.05);
  return joint_verdict(items, strict);
}

struct Shares {
  int pass = 0, warn = 0, block = 0, inconclusive = 0;
};

template <typename Slowdown>
Shares simulate_many(int trials, double sd, bool strict, const Slowdown& slowdown) {
  Shares shares;
  for (int i = 0; i < trials; ++i) {
    switch (simulate(sd, static_cast<std::uint32_t>(i) + 1, strict, slowdown)) {
      case GateVerdict::pass:
        ++shares.pass;
        break;
      case GateVerdict::warn:
        ++shares.warn;
        break;
      case GateVerdict::block:
        ++shares.block;
        break;
      default:
        ++shares.inconclusive;
    }
  }
  fmt::print("sd {:.2f} %{}: pass {}, warn {}, block {}, inconclusive {}\n", 100 * sd,
             strict ? ", strict" : "", shares.pass, shares.warn, shares.block, shares.inconclusive);
  return shares;
}

constexpr int kTrials = 200;
// The spread of a pair is sqrt(2) times that of a process.
constexpr double kSteady = 0.003;
constexpr double kUsual = 0.01 / 1.4142;
constexpr double kRestless = 0.02 / 1.4142;

TEST(GateSimulation, identical_builds_raise_an_alarm_in_at_most_one_gate_of_a_hundred) {
  for (const double sd : {kSteady, kUsual, kRestless}) {
    for (const bool strict : {false, true}) {
      const Shares shares = simulate_many(kTrials, sd, strict, [](std::size_t) { return 1.0; });
      EXPECT_LE(shares.block + shares.warn, kTrials / 100) << "sd " << sd << ", strict " << strict;
    }
  }
}

TEST(GateSimulation, identical_builds_pass_on_a_usual_machine) {
  const Shares shares = simulate_many(kTrials, kUsual, false, [](std::size_t) { return 1.0; });
  EXPECT_GE(shares.pass, kTrials * 99 / 100);
}

TEST(GateSimulation, a_slowdown_of_five_percent_blocks) {
  const auto five = [](std::size_t) { return 1.05; };
  EXPECT_GE(simulate_many(kTrials, kSteady, false, five).block, kTrials * 99 / 100);
  EXPECT_GE(simulate_many(kTrials, kUsual, false, five).block, kTrials * 99 / 100);
  const Shares restless = simulate_many(kTrials, kRestless, false, five);
  EXPECT_GE(restless.block, kTrials * 90 / 100);
  EXPECT_EQ(restless.pass, 0);
}

TEST(GateSimulation, a_slowdown_of_one_kernel_warns_and_blocks_when_strict) {
  // Item 5 is its stage, items 0 and 1 are the times it is a part of.
  const auto kernel = [](std::size_t i) { return i == 5 ? 1.05 : i < 2 ? 1.01 : 1.0; };
  EXPECT_GE(simulate_many(kTrials, kSteady, false, kernel).warn, kTrials * 90 / 100);
  EXPECT_GE(simulate_many(kTrials, kSteady, true, kernel).block, kTrials * 95 / 100);
  EXPECT_GE(simulate_many(kTrials, kUsual, true, kernel).block, kTrials * 95 / 100);
}

}  // namespace
}  // namespace sala
