// A draw without a crossing counts as one at zero or at infinity, so that percentiles stay honest.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/crossover.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "harness/compare/resampling.h"

namespace sala {
namespace {

/// As median(), for the many draws: without sorting. Reorders the values.
double quick_median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*std::max_element(values.begin(), middle) + *middle) / 2;
}

/// Tokens at the crossing; zero or infinity when there is none.
double crossing(std::span<const CrossoverPoint> points, const std::vector<double>& ratios) {
  if (ratios.back() > 0) return std::numeric_limits<double>::infinity();
  std::size_t i = ratios.size() - 1;
  while (i > 0 && ratios[i - 1] <= 0) --i;
  if (i == 0) return 0;
  const double above = ratios[i - 1];
  const double x0 = std::log2(static_cast<double>(points[i - 1].length));
  const double x1 = std::log2(static_cast<double>(points[i].length));
  return std::exp2(x0 + (x1 - x0) * above / (above - ratios[i]));
}

double drawn_log_ratio(const CrossoverPoint& point, std::mt19937& generator) {
  const std::size_t n = point.first.size();
  std::vector<double> first(n);
  std::vector<double> second(n);
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint32_t pair = rand_below(generator, static_cast<std::uint32_t>(n));
    first[i] = point.first[pair];
    second[i] = point.second[pair];
  }
  return std::log(quick_median(first) / quick_median(second));
}

Interval crossing_interval(std::span<const CrossoverPoint> points, int draws, std::uint32_t seed) {
  std::mt19937 generator = python_generator(seed);
  std::vector<double> crossings;
  std::vector<double> ratios(points.size());
  for (int draw = 0; draw < draws; ++draw) {
    for (std::size_t i = 0; i < points.size(); ++i) {
      ratios[i] = drawn_log_ratio(points[i], generator);
    }
    crossings.push_back(crossing(points, ratios));
  }
  std::sort(crossings.begin(), crossings.end());
  // Order statistics, rounded outwards: infinity cannot be interpolated.
  const double last = draws - 1;
  return {crossings[static_cast<std::size_t>(std::floor(0.025 * last))],
          crossings[static_cast<std::size_t>(std::ceil(0.975 * last))]};
}

}  // namespace

CrossoverLength crossover_length(std::span<const CrossoverPoint> points,
                                 std::optional<std::int64_t> infeasible_from, int draws,
                                 std::uint32_t seed) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  SALA_CHECK(!points.empty() || infeasible_from, "a crossover needs a length");
  CrossoverLength out;
  out.interval = {kInfinity, kInfinity};
  double tokens = kInfinity;
  if (!points.empty()) {
    std::vector<double> ratios;
    for (const CrossoverPoint& point : points) {
      SALA_CHECK(!point.first.empty() && point.first.size() == point.second.size(),
                 "values of a crossover come in pairs");
      ratios.push_back(std::log(median(point.first) / median(point.second)));
    }
    tokens = crossing(points, ratios);
    out.interval = crossing_interval(points, draws, seed);
  }
  if (std::isinf(tokens)) {
    out.kind = infeasible_from ? CrossoverKind::infeasible : CrossoverKind::never;
    out.tokens = static_cast<double>(infeasible_from.value_or(0));
  } else {
    out.kind = tokens == 0 ? CrossoverKind::always : CrossoverKind::at;
    out.tokens = tokens;
  }
  return out;
}

}  // namespace sala
