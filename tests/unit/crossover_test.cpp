// Crossovers of made-up costs, against closed forms.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/crossover.h"

#include <gtest/gtest.h>

#include <cmath>

namespace sala {
namespace {

CrossoverPoint point(std::int64_t length, std::vector<double> first, std::vector<double> second) {
  return {length, std::move(first), std::move(second)};
}

/// One pair a length with the first subject at exp(r) times the second.
std::vector<CrossoverPoint> points_of(const std::vector<double>& r) {
  std::vector<CrossoverPoint> points;
  points.reserve(r.size());
  for (std::size_t i = 0; i < r.size(); ++i) {
    points.push_back(point(std::int64_t{1024} << (2 * i), {5 * std::exp(r[i])}, {5}));
  }
  return points;
}

TEST(crossover, lies_where_the_line_in_log_length_meets_zero) {
  // 1k +0.3, 4k -0.1: three quarters of the way from 2^10 to 2^12.
  const CrossoverLength crossover = crossover_length(points_of({0.3, -0.1, -0.5}));
  EXPECT_EQ(crossover.kind, CrossoverKind::at);
  EXPECT_NEAR(crossover.tokens, std::exp2(11.5), 1e-6);
  EXPECT_NEAR(crossover.interval.low, std::exp2(11.5), 1e-6);  // one pair cannot vary
  EXPECT_NEAR(crossover.interval.high, std::exp2(11.5), 1e-6);
}

TEST(crossover, of_power_laws_is_their_meeting_point) {
  // 6e5 n against n^2: linear in log n, so interpolation is exact whatever the lengths.
  std::vector<CrossoverPoint> points;
  for (const std::int64_t n : {65536, 300000, 1000000, 4000000}) {
    const auto x = static_cast<double>(n);
    points.push_back(point(n, {6e5 * x}, {x * x}));
  }
  EXPECT_NEAR(crossover_length(points).tokens, 6e5, 1e-3);
}

TEST(crossover, is_the_last_change_that_lasts) {
  const CrossoverLength again = crossover_length(points_of({0.1, -0.1, 0.1, -0.1}));
  EXPECT_EQ(again.kind, CrossoverKind::at);
  EXPECT_NEAR(again.tokens, std::exp2(15), 1e-6);
  const CrossoverLength lost = crossover_length(points_of({0.1, -0.1, 0.1}));
  EXPECT_EQ(lost.kind, CrossoverKind::never);
}

TEST(crossover, equal_costs_count_as_no_more) {
  EXPECT_EQ(crossover_length(points_of({0, 0})).kind, CrossoverKind::always);
  const CrossoverLength touch = crossover_length(points_of({0.2, 0}));
  EXPECT_EQ(touch.kind, CrossoverKind::at);
  EXPECT_NEAR(touch.tokens, 4096, 1e-6);
}

TEST(crossover, without_a_change_says_always_never_or_infeasible) {
  const CrossoverLength always = crossover_length(points_of({-0.1, -0.2}), 65536);
  EXPECT_EQ(always.kind, CrossoverKind::always);
  EXPECT_EQ(always.interval.high, 0);
  const CrossoverLength never = crossover_length(points_of({0.1, 0.2}));
  EXPECT_EQ(never.kind, CrossoverKind::never);
  EXPECT_TRUE(std::isinf(never.interval.low));
  const CrossoverLength infeasible = crossover_length(points_of({0.1, 0.2}), 65536);
  EXPECT_EQ(infeasible.kind, CrossoverKind::infeasible);
  EXPECT_EQ(infeasible.tokens, 65536);
  EXPECT_EQ(crossover_length({}, 1024).kind, CrossoverKind::infeasible);
}

TEST(crossover, takes_medians_and_not_means) {
  const std::vector<CrossoverPoint> points{point(1024, {2, 2, 2}, {1, 1, 1}),
                                           point(4096, {1, 1, 1e6}, {2, 2, 2})};
  EXPECT_NEAR(crossover_length(points).tokens, 2048, 1e-6);
}

TEST(crossover, resamples_pairs_and_not_sides) {
  // Costs vary thirtyfold from pair to pair and their ratio not at all: the interval has no width.
  const std::vector<double> base{1, 3, 10, 17, 30};
  std::vector<CrossoverPoint> points;
  for (const double factor : {2.0, 0.5}) {
    std::vector<double> first;
    first.reserve(base.size());
    for (const double value : base) first.push_back(factor * value);
    points.push_back(point(factor > 1 ? 1024 : 4096, first, base));
  }
  const CrossoverLength crossover = crossover_length(points);
  EXPECT_NEAR(crossover.interval.low, 2048, 1e-6);
  EXPECT_NEAR(crossover.interval.high, 2048, 1e-6);
}

TEST(crossover, an_interval_has_the_percentiles_of_all_resamples) {
  // Of two pairs a draw takes (a,a), (a,b), (b,b) with chances 1/4, 1/2, 1/4: the second length's
  // ratio is 1/4, its median's 1/2 or, with (b,b), above one, where there is no crossing.
  const std::vector<CrossoverPoint> points{point(1024, {2, 2}, {1, 1}),
                                           point(4096, {0.25, 4}, {1, 1})};
  const CrossoverLength crossover = crossover_length(points);
  EXPECT_EQ(crossover.kind, CrossoverKind::never);                     // median 2.125 of 0.25 and 4
  EXPECT_NEAR(crossover.interval.low, std::exp2(10 + 2.0 / 3), 1e-6);  // (a,a): ln 2 to ln 1/4
  EXPECT_TRUE(std::isinf(crossover.interval.high));
}

TEST(crossover, the_same_values_give_the_same_interval_and_other_seeds_a_close_one) {
  std::vector<CrossoverPoint> points;
  for (int i = 0; i < 5; ++i) {
    CrossoverPoint& at = points.emplace_back();
    at.length = std::int64_t{1024} << i;
    for (int k = 0; k < 31; ++k) {
      at.first.push_back(1 + 0.01 * ((k * 7) % 31));
      at.second.push_back(0.7 + 0.2 * i + 0.01 * ((k * 11) % 31));
    }
  }
  const CrossoverLength once = crossover_length(points);
  const CrossoverLength again = crossover_length(points);
  const CrossoverLength other = crossover_length(points, std::nullopt, 2000, 43);
  EXPECT_EQ(once.kind, CrossoverKind::at);
  EXPECT_EQ(once.interval.low, again.interval.low);
  EXPECT_EQ(once.interval.high, again.interval.high);
  EXPECT_LT(once.interval.low, once.tokens);
  EXPECT_GT(once.interval.high, once.tokens);
  EXPECT_NEAR(std::log2(other.interval.low), std::log2(once.interval.low), 0.05);
  EXPECT_NEAR(std::log2(other.interval.high), std::log2(once.interval.high), 0.05);
}

}  // namespace
}  // namespace sala
