// Intervals and tests for scores and times; formulas are named where they are not plain.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/statistics.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numeric>
#include <random>
#include <unordered_map>
#include <utility>

#include "engine/base/error.h"

namespace sala {
namespace {

constexpr double kZ975 = 1.959963984540054;
constexpr double kZ800 = 0.8416212335729143;

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

/// Fills the state of std::mt19937 as Python's random.seed(int) does (init_by_array of one word).
struct PythonSeed {
  using result_type = std::uint32_t;
  std::uint32_t seed;

  template <typename It>
  void generate(It begin, It end) const {
    std::array<std::uint32_t, 624> state;
    state[0] = 19650218U;
    const auto step = [](std::uint32_t previous) { return previous ^ (previous >> 30); };
    for (std::uint32_t i = 1; i < 624; ++i) {
      state[i] = 1812433253U * step(state[i - 1]) + i;
    }
    std::uint32_t i = 1;
    for (int n = 0; n < 624; ++n) {
      state[i] = (state[i] ^ (step(state[i - 1]) * 1664525U)) + seed;
      if (++i == 624) {
        state[0] = state[623];
        i = 1;
      }
    }
    for (int n = 0; n < 623; ++n) {
      state[i] = (state[i] ^ (step(state[i - 1]) * 1566083941U)) - i;
      if (++i == 624) {
        state[0] = state[623];
        i = 1;
      }
    }
    state[0] = 0x80000000U;
    std::copy(state.begin(), state.begin() + (end - begin), begin);
  }
};

/// Python's random._randbelow: uniform in [0, n), n > 0.
std::uint32_t rand_below(std::mt19937& generator, std::uint32_t n) {
  const int bits = static_cast<int>(std::bit_width(n));
  std::uint32_t r;
  do {
    r = static_cast<std::uint32_t>(generator()) >> (32 - bits);
  } while (r >= n);
  return r;
}

/// Linear interpolation between order statistics at (n - 1) p.
double quantile(const std::vector<double>& sorted, double p) {
  const double position = static_cast<double>(sorted.size() - 1) * p;
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

Interval wilson_interval(std::int64_t k, std::int64_t n) {
  SALA_CHECK(n > 0 && k >= 0 && k <= n, "a proportion needs 0 <= k <= n and n > 0");
  const auto count = static_cast<double>(n);
  const double p = static_cast<double>(k) / count;
  const double z2 = kZ975 * kZ975;
  const double scale = 1 / (1 + z2 / count);
  const double centre = (p + z2 / (2 * count)) * scale;
  const double half = kZ975 * std::sqrt(p * (1 - p) / count + z2 / (4 * count * count)) * scale;
  return {k == 0 ? 0.0 : std::max(0.0, centre - half), k == n ? 1.0 : std::min(1.0, centre + half)};
}

double mcnemar_exact(std::int64_t b, std::int64_t c) {
  if (b + c == 0) return 1;
  return std::min(1.0, 2 * half_binomial_cdf(std::min(b, c), b + c));
}

Interval paired_difference_interval(std::int64_t both, std::int64_t only_first,
                                    std::int64_t only_second, std::int64_t neither) {
  const std::int64_t n = both + only_first + only_second + neither;
  const Interval first = wilson_interval(both + only_first, n);
  const Interval second = wilson_interval(both + only_second, n);
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

Interval bootstrap_mean_interval(std::span<const double> values,
                                 std::span<const std::string> clusters, int replicates,
                                 std::uint32_t seed) {
  SALA_CHECK(!values.empty() && values.size() == clusters.size(), "one cluster name a value");
  struct Sum {
    double total = 0;
    double count = 0;
  };
  std::vector<Sum> sums;  // in order of first appearance
  std::unordered_map<std::string, std::size_t> index;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto [it, added] = index.try_emplace(clusters[i], sums.size());
    if (added) sums.emplace_back();
    sums[it->second].total += values[i];
    sums[it->second].count += 1;
  }
  PythonSeed sequence{seed};
  std::mt19937 generator(sequence);
  std::vector<double> means;
  means.reserve(static_cast<std::size_t>(replicates));
  for (int r = 0; r < replicates; ++r) {
    Sum drawn;
    for (std::size_t c = 0; c < sums.size(); ++c) {
      const Sum& sum = sums[rand_below(generator, static_cast<std::uint32_t>(sums.size()))];
      drawn.total += sum.total;
      drawn.count += sum.count;
    }
    means.push_back(drawn.total / drawn.count);
  }
  std::sort(means.begin(), means.end());
  return {quantile(means, 0.025), quantile(means, 0.975)};
}

double detectable_difference(std::int64_t n, double discordance) {
  SALA_CHECK(n > 0, "a detectable difference needs samples");
  return (kZ975 + kZ800) * std::sqrt(discordance / static_cast<double>(n));
}

std::vector<double> holm_adjusted(std::span<const double> p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return std::pair(p[a], a) < std::pair(p[b], b); });
  std::vector<double> adjusted(p.size());
  double running = 0;
  for (std::size_t j = 0; j < order.size(); ++j) {
    running = std::max(running, std::min(1.0, static_cast<double>(p.size() - j) * p[order[j]]));
    adjusted[order[j]] = running;
  }
  return adjusted;
}

}  // namespace sala
