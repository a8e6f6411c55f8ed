// Intervals and tests for scores and times; every number a report prints with a margin comes here.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "harness/compare/distributions.h"

namespace sala {

/// A closed interval around an estimate.
struct Interval {
  double low = 0;
  double high = 0;
};

/// Wilson score interval of k successes in n trials, within [0, 1]; n > 0, 0 <= k <= n. z: the
/// normal quantile of the level, by default that of 95 %.
Interval wilson_interval(std::int64_t k, std::int64_t n, double z = kZ975);
/// The same around a mean of n scores in [0, 1], which vary no more than 0/1 scores of that mean.
Interval wilson_mean_interval(double mean, std::int64_t n, double z = kZ975);

/// 95 % Clopper-Pearson interval, exact and wider than Wilson's; n > 0, 0 <= k <= n.
Interval clopper_pearson_interval(std::int64_t k, std::int64_t n);

/// Largest rate of failures that n trials without one still allow at the 5 % level; n > 0.
double zero_failures_bound(std::int64_t n);

/// Exact two-sided McNemar p value for b and c discordant pairs; 1 when there are none.
double mcnemar_exact(std::int64_t b, std::int64_t c);
/// The same, counting the outcome seen half: less cautious where pairs are few.
double mcnemar_mid_p(std::int64_t b, std::int64_t c);
/// Exact one-sided p of "no more b than c": the chance of b or more among the discordant pairs.
double mcnemar_one_sided(std::int64_t b, std::int64_t c);

/// Interval of the difference of two paired proportions, first minus second (Newcombe's square
/// and add method with continuity-corrected correlation). Counts of pairs: both right, only the
/// first, only the second, neither; at least one pair. z as above.
Interval paired_difference_interval(std::int64_t both, std::int64_t only_first,
                                    std::int64_t only_second, std::int64_t neither,
                                    double z = kZ975);

/// Middle value; the mean of the two middle ones for an even count. `values` must not be empty.
double median(std::vector<double> values);

/// Distribution-free interval of the median from order statistics, with coverage of at least 95 %
/// where n allows it (n >= 6) and [min, max] below that.
Interval median_interval(std::vector<double> values);

/// Linear interpolation between order statistics at (n - 1) p; sorted must not be empty.
double quantile(const std::vector<double>& sorted, double p);

double mean(std::span<const double> values);
/// Of the values, with n - 1 in the denominator; two values or more.
double sample_deviation(std::span<const double> values);
/// Of the mean of independent values; two or more.
double standard_error(std::span<const double> values);
/// 95 % interval of the mean after Student; two values or more.
Interval t_interval(std::span<const double> values);
/// Standard error of the mean when values of one cluster are not independent; two clusters or more.
double clustered_standard_error(std::span<const double> values,
                                std::span<const std::string> clusters);

/// Smallest true difference of two accuracies, as a fraction, that n paired 0/1 samples find with
/// 80 % power at the 5 % level, when `discordance` is the share of pairs that differ; n > 0.
double detectable_difference(std::int64_t n, double discordance);
/// The same for two separate sets of n prompts each, both with accuracies near p.
double detectable_unpaired_difference(std::int64_t n, double p);
/// Pairs needed to find a difference with 80 % power at the 5 % level; difference > 0.
std::int64_t samples_for_difference(double difference, double discordance);
/// 95 % half width of the mean over tasks of n samples each at accuracy p.
double task_mean_half_width(std::int64_t n_tasks, std::int64_t n, double p);

/// Holm's step-down adjustment of p values, in the order given.
std::vector<double> holm_adjusted(std::span<const double> p);
/// Benjamini and Hochberg's adjustment, which bounds the share of false findings instead.
std::vector<double> benjamini_hochberg_adjusted(std::span<const double> p);

}  // namespace sala
