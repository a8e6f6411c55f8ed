// Statistics against published and independently computed values.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "harness/compare/resampling.h"

namespace sala {
namespace {

struct Proportion {
  std::int64_t k, n;
  double low, high;
};

TEST(statistics, wilson_interval_has_its_known_values) {
  for (const Proportion& known : {Proportion{0, 20, 0.0, 0.16112515805281938},
                                  {1, 20, 0.008881448800795402, 0.23613119344674205},
                                  {10, 20, 0.2992980081982123, 0.7007019918017877},
                                  {20, 20, 0.8388748419471806, 1.0},
                                  {90, 100, 0.8256343384950865, 0.9447708629393249},
                                  {490, 500, 0.9635798167531208, 0.9891008164037892},
                                  {500, 500, 0.9923756595384479, 1.0}}) {
    const Interval got = wilson_interval(known.k, known.n);
    EXPECT_NEAR(got.low, known.low, 1e-12) << known.k << "/" << known.n;
    EXPECT_NEAR(got.high, known.high, 1e-12) << known.k << "/" << known.n;
  }
}

TEST(statistics, wilson_interval_holds_the_share_and_mirrors) {
  for (std::int64_t n = 1; n < 60; ++n) {
    for (std::int64_t k = 0; k <= n; ++k) {
      const Interval here = wilson_interval(k, n);
      const Interval mirrored = wilson_interval(n - k, n);
      const double share = static_cast<double>(k) / static_cast<double>(n);
      EXPECT_LE(here.low, share);
      EXPECT_GE(here.high, share);
      EXPECT_NEAR(here.low, 1 - mirrored.high, 1e-12);
    }
  }
}

struct Discordant {
  std::int64_t b, c;
  double p;
};

TEST(statistics, mcnemar_has_its_known_values) {
  for (const Discordant& known : {Discordant{0, 0, 1.0},
                                  {0, 1, 1.0},
                                  {0, 5, 0.0625},
                                  {0, 6, 0.03125},
                                  {1, 8, 0.0390625},
                                  {3, 12, 0.03515625},
                                  {10, 24, 0.024306510109454393},
                                  {13, 0, 0.000244140625},
                                  {5, 5, 1.0},
                                  {40, 65, 0.01874091540825805},
                                  {0, 60, 1.734723475976807e-18}}) {
    EXPECT_NEAR(mcnemar_exact(known.b, known.c) / known.p, 1, 1e-9) << known.b << "," << known.c;
    EXPECT_EQ(mcnemar_exact(known.b, known.c), mcnemar_exact(known.c, known.b));
  }
}

TEST(statistics, paired_interval_turns_with_its_sides) {
  const Interval got = paired_difference_interval(4, 8, 1, 15);
  EXPECT_GT(got.low, 0);
  EXPECT_LT(got.low, 0.25);
  EXPECT_GT(got.high, 0.25);
  const Interval swapped = paired_difference_interval(4, 1, 8, 15);
  EXPECT_NEAR(got.low, -swapped.high, 1e-12);
  EXPECT_NEAR(got.high, -swapped.low, 1e-12);
}

TEST(statistics, paired_interval_of_equal_answers_keeps_a_width) {
  const Interval few = paired_difference_interval(5, 0, 0, 0);
  const Interval many = paired_difference_interval(500, 0, 0, 0);
  EXPECT_LT(few.low, -0.3);
  EXPECT_GT(few.high, 0.3);
  EXPECT_GT(many.low, -0.01);
  EXPECT_LT(many.high, 0.01);
}

TEST(statistics, paired_interval_covers_the_true_difference) {
  std::mt19937_64 random(11);
  std::uniform_real_distribution<double> uniform(0, 1);
  int covered = 0;
  constexpr int kTrials = 2000;
  for (int t = 0; t < kTrials; ++t) {
    std::int64_t counts[4] = {0, 0, 0, 0};
    for (int i = 0; i < 80; ++i) {  // both .7, first .12, second .06, neither .12
      const double u = uniform(random);
      ++counts[u < 0.7 ? 0 : u < 0.82 ? 1 : u < 0.88 ? 2 : 3];
    }
    const Interval got = paired_difference_interval(counts[0], counts[1], counts[2], counts[3]);
    covered += got.low <= 0.06 && 0.06 <= got.high ? 1 : 0;
  }
  EXPECT_GT(covered, 0.93 * kTrials);
  EXPECT_LT(covered, 0.985 * kTrials);
}

TEST(statistics, median_is_the_middle) {
  EXPECT_EQ(median({3}), 3);
  EXPECT_EQ(median({4, 1, 3}), 3);
  EXPECT_EQ(median({4, 1, 3, 2}), 2.5);
}

TEST(statistics, median_interval_takes_the_known_order_statistics) {
  const auto one_to = [](int n) {
    std::vector<double> values;
    for (int i = n; i >= 1; --i) values.push_back(i);
    return values;
  };
  // Ranks of the exact 95 % interval of a median, as in textbook tables.
  struct Ranks {
    int n, low, high;
  };
  for (const Ranks& known : {Ranks{1, 1, 1},
                             {5, 1, 5},
                             {6, 1, 6},
                             {8, 1, 8},
                             {9, 2, 8},
                             {10, 2, 9},
                             {15, 4, 12},
                             {20, 6, 15},
                             {50, 18, 33}}) {
    const Interval got = median_interval(one_to(known.n));
    EXPECT_EQ(got.low, known.low) << known.n;
    EXPECT_EQ(got.high, known.high) << known.n;
  }
}

std::vector<double> cluster_values() {
  return {0.25, 1, 1,    0.25, 0.5,  1, 0.75, 1,    0,    1,    0,    0.75,
          0.5,  1, 0.25, 0.25, 0.75, 1, 1,    0.75, 0.75, 0.25, 0.25, 0.25};
}

TEST(statistics, clustered_bootstrap_equals_pythons) {
  const std::vector<double> values = cluster_values();
  std::vector<std::string> clusters(24);
  for (std::size_t i = 0; i < 24; ++i) clusters[i] = std::to_string(i / 4);
  EXPECT_NEAR(mean(values), 0.6041666666666666, 1e-15);
  const Interval a = bootstrap_mean_interval(values, clusters, 1000, 42);
  EXPECT_NEAR(a.low, 0.46848958333333357, 1e-12);
  EXPECT_NEAR(a.high, 0.7604166666666666, 1e-12);
  const Interval b = bootstrap_mean_interval(values, clusters, 2000, 7);
  EXPECT_NEAR(b.low, 0.4583333333333333, 1e-12);
  EXPECT_NEAR(b.high, 0.75, 1e-12);
}

TEST(statistics, bootstrap_of_single_samples_equals_pythons) {
  std::vector<std::string> clusters(24);
  for (std::size_t i = 0; i < 24; ++i) clusters[i] = std::to_string(i);
  const Interval got = bootstrap_mean_interval(cluster_values(), clusters, 1000, 42);
  EXPECT_NEAR(got.low, 0.4583333333333333, 1e-12);
  EXPECT_NEAR(got.high, 0.7395833333333334, 1e-12);
}

TEST(statistics, detectable_difference_has_its_known_values) {
  EXPECT_NEAR(100 * detectable_difference(20, 0.02), 8.859390348296596, 1e-9);
  EXPECT_NEAR(100 * detectable_difference(100, 0.1), 8.859390348296596, 1e-9);
  EXPECT_NEAR(100 * detectable_difference(500, 0.02), 1.7718780696593193, 1e-9);
  EXPECT_NEAR(100 * detectable_difference(6500, 0.2), 1.5540398702289648, 1e-9);
}

TEST(statistics, holm_keeps_order_and_never_falls) {
  const std::vector<double> p{0.001, 0.04, 0.03, 0.005, 0.2, 0.04};
  const std::vector<double> known{0.006, 0.12, 0.12, 0.025, 0.2, 0.12};
  const std::vector<double> got = holm_adjusted(p);
  ASSERT_EQ(got.size(), known.size());
  for (std::size_t i = 0; i < known.size(); ++i) EXPECT_NEAR(got[i], known[i], 1e-12);
  EXPECT_TRUE(holm_adjusted({}).empty());
}

}  // namespace
}  // namespace sala
