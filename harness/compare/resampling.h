// What needs a random generator: bootstraps and the sign-flip test, reproducible in Python.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "harness/compare/statistics.h"

namespace sala {

/// Scores of a task and the cluster of each: scores of one cluster are not independent.
struct ClusteredScores {
  std::vector<double> scores;
  std::vector<std::string> clusters;
};

/// Sums of values by cluster, in order of first appearance.
class ClusterSums {
 public:
  ClusterSums(std::span<const double> values, std::span<const std::string> clusters);

  std::size_t size() const { return sums_.size(); }
  /// Values added up within each cluster.
  std::vector<double> totals() const;
  /// Mean over as many clusters as there are, drawn with replacement.
  double draw_mean(std::mt19937& generator) const;

 private:
  struct Sum {
    double total = 0;
    double count = 0;
  };
  std::vector<Sum> sums_;
};

/// std::mt19937 in the state that Python's random.seed(seed) gives.
std::mt19937 python_generator(std::uint32_t seed);

/// Python's random._randbelow: uniform in [0, n), n > 0.
std::uint32_t rand_below(std::mt19937& generator, std::uint32_t n);

/// Means of a bootstrap over clusters, ascending.
std::vector<double> bootstrap_means(std::span<const double> values,
                                    std::span<const std::string> clusters, int replicates,
                                    std::uint32_t seed);

/// Percentile interval of the mean, 95 % by default, by a bootstrap over clusters: each replicate
/// draws as many clusters as there are, with replacement, and pools their values. tail: what it
/// leaves out at either end.
Interval bootstrap_mean_interval(std::span<const double> values,
                                 std::span<const std::string> clusters, int replicates = 2000,
                                 std::uint32_t seed = 42, double tail = 0.025);

/// Two-sided p of "differences are symmetric around zero" over all 2^m sign flips of the m non-zero
/// ones; m at most 30.
double sign_flip_exact(std::span<const double> differences);

/// The same from random flips.
double sign_flip_sampled(std::span<const double> differences, int replicates, std::uint32_t seed);

/// Exact for up to 20 non-zero differences, else from 9,999 random flips.
double sign_flip(std::span<const double> differences);

/// What a bootstrap says of the mean over tasks at one length. Its probability knows nothing of
/// errors that no prompt showed: with few prompts it is too sure.
struct LengthScore {
  double mean = 0;  // unweighted mean of the tasks' means
  Interval interval;
  double p_reaches = 0;  // share of replicates at or above the threshold
};

/// Resamples clusters within each task, then takes the mean of the task means. tasks: one or more,
/// each with a score or more.
LengthScore length_score(std::span<const ClusteredScores> tasks, double threshold,
                         int replicates = 2000, std::uint32_t seed = 42);

/// For lengths in ascending order, the probability that this and every shorter one reach the
/// threshold: that the effective length is at least this one.
std::vector<double> effective_length_probability(std::span<const LengthScore> lengths);

}  // namespace sala
