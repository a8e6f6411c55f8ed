// Intervals and tests for scores and times; formulas are named where they are not plain.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "engine/base/error.h"
#include "harness/compare/distributions.h"
#include "harness/compare/resampling.h"

namespace sala {
namespace {

double log_choose(double n, double k) {
  return std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1);
}

/// P(X <= k) for X ~ Binomial(n, 1/2).
double half_binomial_cdf(std::int64_t k, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i <= k; ++i) {
    sum += std::exp(log_choose(static_cast<double>(n), static_cast<double>(i)) -
                    static_cast<double>(n) * std::log(2.0));
  }
  return sum;
}

std::vector<std::size_t> ascending_order(std::span<const double> p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return std::pair(p[a], a) < std::pair(p[b], b); });
  return order;
}

}  // namespace

Interval wilson_interval(std::int64_t k, std::int64_t n, double z) {
  SALA_CHECK(n > 0 && k >= 0 && k <= n, "a proportion needs 0 <= k <= n and n > 0");
  return wilson_mean_interval(static_cast<double>(k) / static_cast<double>(n), n, z);
}

Interval wilson_mean_interval(double mean, std::int64_t n, double z) {
  SALA_CHECK(n > 0 && mean >= 0 && mean <= 1, "a mean score lies in [0, 1]");
  const auto count = static_cast<double>(n);
  const double z2 = z * z;
  const double scale = 1 / (1 + z2 / count);
  const double centre = (mean + z2 / (2 * count)) * scale;
  const double half = z * std::sqrt(mean * (1 - mean) / count + z2 / (4 * count * count)) * scale;
  return {mean == 0 ? 0.0 : std::max(0.0, centre - half),
          mean == 1 ? 1.0 : std::min(1.0, centre + half)};
}

Interval clopper_pearson_interval(std::int64_t k, std::int64_t n) {
  SALA_CHECK(n > 0 && k >= 0 && k <= n, "a proportion needs 0 <= k <= n and n > 0");
  const auto hits = static_cast<double>(k);
  const auto misses = static_cast<double>(n - k);
  return {k == 0 ? 0.0 : beta_quantile(0.025, hits, misses + 1),
          k == n ? 1.0 : beta_quantile(0.975, hits + 1, misses)};
}

double zero_failures_bound(std::int64_t n) {
  SALA_CHECK(n > 0, "a bound needs a trial");
  return -std::expm1(std::log(0.05) / static_cast<double>(n));
}

double mcnemar_exact(std::int64_t b, std::int64_t c) {
  if (b + c == 0) return 1;
  return std::min(1.0, 2 * half_binomial_cdf(std::min(b, c), b + c));
}

double mcnemar_mid_p(std::int64_t b, std::int64_t c) {
  if (b + c == 0) return 1;
  const std::int64_t k = std::min(b, c);
  const double below = k == 0 ? 0 : half_binomial_cdf(k - 1, b + c);
  const double at = half_binomial_cdf(k, b + c);
  return std::min(1.0, below + at);
}

double mcnemar_one_sided(std::int64_t b, std::int64_t c) {
  return b == 0 ? 1 : std::min(1.0, half_binomial_cdf(c, b + c));
}

Interval paired_difference_interval(std::int64_t both, std::int64_t only_first,
                                    std::int64_t only_second, std::int64_t neither, double z) {
  const std::int64_t n = both + only_first + only_second + neither;
  const Interval first = wilson_interval(both + only_first, n, z);
  const Interval second = wilson_interval(both + only_second, n, z);
  const auto a = static_cast<double>(both);
  const auto b = static_cast<double>(only_first);
  const auto c = static_cast<double>(only_second);
  const auto d = static_cast<double>(neither);
  const auto count = static_cast<double>(n);
  double covariance = a * d - b * c;
  if (covariance > 0) covariance = std::max(0.0, covariance - count / 2);
  const double scale = (a + b) * (c + d) * (a + c) * (b + d);
  const double phi = scale > 0 ? covariance / std::sqrt(scale) : 0;
  const double p1 = (a + b) / count;
  const double p2 = (a + c) / count;
  const auto margin = [&](double x, double y) {
    return std::sqrt(std::max(0.0, x * x - 2 * phi * x * y + y * y));
  };
  return {p1 - p2 - margin(p1 - first.low, second.high - p2),
          p1 - p2 + margin(first.high - p1, p2 - second.low)};
}

double median(std::vector<double> values) {
  SALA_CHECK(!values.empty(), "a median needs a value");
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

Interval median_interval(std::vector<double> values) {
  SALA_CHECK(!values.empty(), "a median needs a value");
  std::sort(values.begin(), values.end());
  const auto n = static_cast<std::int64_t>(values.size());
  // [x_(k+1), x_(n-k)] misses the median with probability 2 P(Bin(n, 1/2) <= k).
  std::int64_t k = 0;
  while (2 * half_binomial_cdf(k + 1, n) <= 0.05) ++k;
  return {values[static_cast<std::size_t>(k)], values[static_cast<std::size_t>(n - 1 - k)]};
}

double mean(std::span<const double> values) {
  SALA_CHECK(!values.empty(), "a mean needs a value");
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double quantile(const std::vector<double>& sorted, double p) {
  const double position = static_cast<double>(sorted.size() - 1) * p;
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

double sample_deviation(std::span<const double> values) {
  SALA_CHECK(values.size() > 1, "a deviation needs two values");
  const double centre = mean(values);
  double squares = 0;
  for (const double value : values) squares += (value - centre) * (value - centre);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

double standard_error(std::span<const double> values) {
  return sample_deviation(values) / std::sqrt(static_cast<double>(values.size()));
}

Interval t_interval(std::span<const double> values) {
  const double half =
      student_t_quantile(0.975, static_cast<double>(values.size() - 1)) * standard_error(values);
  const double centre = mean(values);
  return {centre - half, centre + half};
}

double clustered_standard_error(std::span<const double> values,
                                std::span<const std::string> clusters) {
  const double centre = mean(values);
  std::vector<double> deviations;
  deviations.reserve(values.size());
  for (const double value : values) deviations.push_back(value - centre);
  const std::vector<double> totals = ClusterSums(deviations, clusters).totals();
  SALA_CHECK(totals.size() > 1, "a clustered error needs two clusters");
  double squares = 0;
  for (const double total : totals) squares += total * total;
  const auto count = static_cast<double>(totals.size());
  return std::sqrt(squares * count / (count - 1)) / static_cast<double>(values.size());
}

double detectable_difference(std::int64_t n, double discordance) {
  SALA_CHECK(n > 0, "a detectable difference needs samples");
  return (kZ975 + kZ800) * std::sqrt(discordance / static_cast<double>(n));
}

double detectable_unpaired_difference(std::int64_t n, double p) {
  return detectable_difference(n, 2 * p * (1 - p));
}

std::int64_t samples_for_difference(double difference, double discordance) {
  SALA_CHECK(difference > 0, "no number of samples finds a difference of nothing");
  const double ratio = (kZ975 + kZ800) / difference;
  return static_cast<std::int64_t>(std::ceil(ratio * ratio * discordance));
}

double task_mean_half_width(std::int64_t n_tasks, std::int64_t n, double p) {
  SALA_CHECK(n_tasks > 0 && n > 0, "a half width needs tasks and samples");
  return kZ975 * std::sqrt(p * (1 - p) / (static_cast<double>(n_tasks) * static_cast<double>(n)));
}

std::vector<double> holm_adjusted(std::span<const double> p) {
  const std::vector<std::size_t> order = ascending_order(p);
  std::vector<double> adjusted(p.size());
  double running = 0;
  for (std::size_t j = 0; j < order.size(); ++j) {
    running = std::max(running, std::min(1.0, static_cast<double>(p.size() - j) * p[order[j]]));
    adjusted[order[j]] = running;
  }
  return adjusted;
}

std::vector<double> benjamini_hochberg_adjusted(std::span<const double> p) {
  const std::vector<std::size_t> order = ascending_order(p);
  std::vector<double> adjusted(p.size());
  double running = 1;
  for (std::size_t j = order.size(); j-- > 0;) {
    const double rank = static_cast<double>(j + 1);
    running = std::min(running, p[order[j]] * static_cast<double>(p.size()) / rank);
    adjusted[order[j]] = running;
  }
  return adjusted;
}

}  // namespace sala
