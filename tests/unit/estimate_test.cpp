// Which interval and test a set of scores gets, and what may be said of a pair.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/estimate.h"

#include <gtest/gtest.h>

#include <random>

namespace sala {
namespace {

std::vector<std::string> apart(std::size_t n) {
  std::vector<std::string> names;
  names.reserve(n);
  for (std::size_t i = 0; i < n; ++i) names.push_back(std::to_string(i));
  return names;
}

void expect_interval(const Interval& got, const Interval& expected) {
  EXPECT_DOUBLE_EQ(got.low, expected.low);
  EXPECT_DOUBLE_EQ(got.high, expected.high);
}

TEST(estimate, independent_right_or_wrong_scores_get_wilsons_interval) {
  const std::vector<double> scores{1, 1, 0, 1, 0, 1, 1, 1};
  const Accuracy got = estimate_accuracy({scores, apart(8)});
  EXPECT_EQ(got.n, 8);
  EXPECT_EQ(got.n_correct, 6);
  EXPECT_EQ(got.n_clusters, 8);
  EXPECT_FALSE(got.fractional);
  expect_interval(got.interval, wilson_interval(6, 8));
}

TEST(estimate, fractional_or_shared_scores_get_a_clustered_bootstrap) {
  const std::vector<double> fractional{0.5, 1, 0, 0.25};
  expect_interval(estimate_accuracy({fractional, apart(4)}).interval,
                  bootstrap_mean_interval(fractional, apart(4)));
  const std::vector<double> binary{1, 1, 0, 0, 1, 1};
  const std::vector<std::string> articles{"a", "a", "b", "b", "c", "c"};
  const Accuracy clustered = estimate_accuracy({binary, articles});
  expect_interval(clustered.interval, bootstrap_mean_interval(binary, articles));
  const Interval wilson = wilson_interval(4, 6);
  EXPECT_GT(clustered.interval.high - clustered.interval.low, wilson.high - wilson.low);
}

TEST(estimate, equal_scores_keep_a_width_by_their_clusters) {
  const std::vector<double> all_right(20, 1.0);
  expect_interval(estimate_accuracy({all_right, apart(20)}).interval, wilson_interval(20, 20));
  const std::vector<std::string> one(20, "pattern");
  expect_interval(estimate_accuracy({all_right, one}).interval, wilson_interval(1, 1));
}

TEST(estimate, pairs_of_right_or_wrong_scores_get_mcnemars_test) {
  const std::vector<double> a{1, 1, 1, 1, 1, 1, 0, 1};
  const std::vector<double> b{0, 0, 0, 0, 0, 0, 0, 1};
  const PairedDifference got = compare_paired(a, b, apart(8));
  EXPECT_EQ(got.only_first, 6);
  EXPECT_EQ(got.only_second, 0);
  EXPECT_DOUBLE_EQ(got.p, mcnemar_exact(6, 0));
  EXPECT_DOUBLE_EQ(got.discordance, 0.75);
  EXPECT_EQ(verdict_of(got), Verdict::better);
  EXPECT_EQ(verdict_of(compare_paired(b, a, apart(8))), Verdict::worse);
}

TEST(estimate, fractional_pairs_get_the_sign_flip_test) {
  const std::vector<double> a{0.5, 1, 0.75, 1, 1, 0.5};
  const std::vector<double> b{0.25, 0.75, 0.5, 0.75, 1, 0.75};
  std::vector<double> differences(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) differences[i] = a[i] - b[i];
  EXPECT_DOUBLE_EQ(compare_paired(a, b, apart(6)).p, sign_flip_exact(differences));
}

TEST(estimate, prompts_of_one_cluster_count_as_one_in_the_test) {
  // Ten prompts on one passage are one observation: no test can be sure of it.
  const std::vector<double> a(10, 1.0);
  const std::vector<double> b(10, 0.0);
  EXPECT_LT(compare_paired(a, b, apart(10)).p, 0.01);
  EXPECT_EQ(compare_paired(a, b, std::vector<std::string>(10, "passage")).p, 1);
}

TEST(estimate, no_difference_is_undecided_until_the_prompts_suffice) {
  const std::vector<double> few(10, 1.0);
  const PairedDifference unsure = compare_paired(few, few, apart(10));
  EXPECT_EQ(verdict_of(unsure), Verdict::undecided);
  EXPECT_GT(unsure.samples_needed(), 10);
  const std::vector<double> many(2000, 1.0);
  EXPECT_EQ(verdict_of(compare_paired(many, many, apart(2000))), Verdict::same);
}

TEST(estimate, a_wide_table_of_chance_findings_is_not_called_better) {
  struct Row {
    std::optional<PairedDifference> paired;
  };
  const std::vector<double> a{1, 1, 1, 1, 1, 1, 0, 1};
  const std::vector<double> b{0, 0, 0, 0, 0, 0, 0, 1};
  std::vector<Row> rows(30);
  for (Row& row : rows) row.paired = compare_paired(b, b, apart(8));
  rows[7].paired = compare_paired(a, b, apart(8));
  adjust_p_values(rows);
  EXPECT_EQ(verdict_of(*rows[7].paired), Verdict::undecided);
}

TEST(estimate, length_score_is_the_mean_of_task_means_and_its_chance_to_pass) {
  const std::vector<ClusteredScores> tasks{
      {{1, 1, 1, 0}, apart(4)}, {{0.5, 0.5}, apart(2)}, {{1, 0, 1, 1, 1, 1, 1, 1}, apart(8)}};
  const LengthScore got = length_score(tasks, 0.6);
  EXPECT_DOUBLE_EQ(got.mean, (0.75 + 0.5 + 0.875) / 3);
  EXPECT_LT(got.interval.low, got.mean);
  EXPECT_GT(got.interval.high, got.mean);
  EXPECT_GT(got.p_reaches, 0.8);
  EXPECT_LT(got.p_reaches, 1.0);
  EXPECT_EQ(length_score(tasks, 0).p_reaches, 1);
  EXPECT_EQ(length_score(tasks, 1.01).p_reaches, 0);
}

TEST(estimate, a_length_without_an_error_keeps_a_width) {
  const std::vector<ClusteredScores> tasks{{{1, 1, 1}, apart(3)}, {{1, 1}, apart(2)}};
  const LengthScore got = length_score(tasks, 0.856);
  EXPECT_EQ(got.mean, 1);
  expect_interval(got.interval, wilson_interval(5, 5));
}

TEST(estimate, length_scores_spread_as_theory_says) {
  // 13 tasks of 50 samples at 85.6 %: half width 2.70 points.
  std::mt19937 random(7);
  std::bernoulli_distribution right(0.856);
  std::vector<ClusteredScores> tasks;
  for (int t = 0; t < 13; ++t) {
    ClusteredScores task{{}, apart(50)};
    for (int i = 0; i < 50; ++i) task.scores.push_back(right(random) ? 1 : 0);
    tasks.push_back(task);
  }
  const LengthScore got = length_score(tasks, 0.856, 4000);
  const double half = (got.interval.high - got.interval.low) / 2;
  EXPECT_NEAR(half, task_mean_half_width(13, 50, 0.856), 0.003);
}

TEST(estimate, effective_length_needs_every_shorter_length_to_pass) {
  const std::vector<LengthScore> lengths{
      {0.95, {}, 1.0}, {0.86, {}, 0.6}, {0.9, {}, 0.9}, {0.5, {}, 0.0}};
  const std::vector<double> p = effective_length_probability(lengths);
  EXPECT_DOUBLE_EQ(p[0], 1);
  EXPECT_DOUBLE_EQ(p[1], 0.6);
  EXPECT_DOUBLE_EQ(p[2], 0.54);
  EXPECT_DOUBLE_EQ(p[3], 0);
}

}  // namespace
}  // namespace sala
