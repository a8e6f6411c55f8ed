// Intervals and tests for scores and times; every number a report prints with a margin comes here.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace sala {

/// A closed interval around an estimate.
struct Interval {
  double low = 0;
  double high = 0;
};

/// 95 % Wilson score interval of k successes in n trials, within [0, 1]; n > 0, 0 <= k <= n.
Interval wilson_interval(std::int64_t k, std::int64_t n);

/// Exact two-sided McNemar p value for b and c discordant pairs; 1 when there are none.
double mcnemar_exact(std::int64_t b, std::int64_t c);

/// 95 % interval of the difference of two paired proportions, first minus second (Newcombe's square
/// and add method with continuity-corrected correlation). Counts of pairs: both right, only the
/// first, only the second, neither; at least one pair.
Interval paired_difference_interval(std::int64_t both, std::int64_t only_first,
                                    std::int64_t only_second, std::int64_t neither);

/// Middle value; the mean of the two middle ones for an even count. `values` must not be empty.
double median(std::vector<double> values);

/// Distribution-free interval of the median from order statistics, with coverage of at least 95 %
/// where n allows it (n >= 6) and [min, max] below that.
Interval median_interval(std::vector<double> values);

double mean(std::span<const double> values);

/// 95 % percentile interval of the mean by a bootstrap over clusters: each replicate draws as many
/// clusters as there are, with replacement, and pools their values. clusters[i] names the cluster
/// of values[i]; values of one cluster are not independent. Reproduces Python's generator, so equal
/// seeds give equal intervals in both languages.
Interval bootstrap_mean_interval(std::span<const double> values,
                                 std::span<const std::string> clusters, int replicates = 2000,
                                 std::uint32_t seed = 42);

/// Smallest true difference of two accuracies, as a fraction, that n paired 0/1 samples find with
/// 80 % power at the 5 % level, when `discordance` is the share of pairs that differ; n > 0.
double detectable_difference(std::int64_t n, double discordance);

/// Holm's step-down adjustment of p values, in the order given.
std::vector<double> holm_adjusted(std::span<const double> p);

}  // namespace sala
