// Least absolute deviations: one wild value moves no median, and so makes no level.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/change_points.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "engine/base/error.h"
#include "harness/compare/statistics.h"

namespace sala {
namespace {

// By simulation: less than 1 % false alarms for every shape of noise, with a margin.
constexpr double kPenalty = 24;
constexpr std::size_t kMostSteps = 20;

/// costs[i][j - i]: sum of absolute deviations of values [i, j) from their median.
std::vector<std::vector<double>> level_costs(std::span<const double> values) {
  std::vector<std::vector<double>> costs;
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::vector<double>& from_i = costs.emplace_back(1, 0.0);
    std::vector<double> sorted;
    for (const double value : values.subspan(i)) {
      sorted.insert(std::upper_bound(sorted.begin(), sorted.end(), value), value);
      const double middle = sorted[sorted.size() / 2];
      double sum = 0;
      for (const double inside : sorted) sum += std::abs(inside - middle);
      from_i.push_back(sum);
    }
  }
  return costs;
}

/// First indices of the levels after the first, of the best fit.
std::vector<std::size_t> best_steps(std::span<const double> values, double least_deviation) {
  const std::size_t n = values.size();
  const std::vector<std::vector<double>> costs = level_costs(values);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  // best[k][j]: least cost of values [0, j) in k + 1 levels; last[k][j]: where the last one begins.
  std::vector<std::vector<double>> best(1, costs[0]);
  std::vector<std::vector<std::size_t>> last(1, std::vector<std::size_t>(n + 1, 0));
  std::fill_n(best[0].begin(), kShortestLevel, kInfinity);
  const auto criterion = [&](std::size_t k) {
    const double deviation = std::max(best[k][n] / static_cast<double>(n), least_deviation);
    return 2 * static_cast<double>(n) * std::log(deviation) + kPenalty * static_cast<double>(k);
  };
  std::size_t chosen = 0;
  const std::size_t most = std::min(kMostSteps, n / kShortestLevel - 1);
  for (std::size_t k = 1; k <= most; ++k) {
    best.emplace_back(n + 1, kInfinity);
    last.emplace_back(n + 1, 0);
    for (std::size_t j = (k + 1) * kShortestLevel; j <= n; ++j) {
      for (std::size_t i = k * kShortestLevel; i + kShortestLevel <= j; ++i) {
        const double cost = best[k - 1][i] + costs[i][j - i];
        if (cost >= best[k][j]) continue;
        best[k][j] = cost;
        last[k][j] = i;
      }
    }
    if (criterion(k) < criterion(chosen)) chosen = k;
  }
  std::vector<std::size_t> steps(chosen);
  for (std::size_t k = chosen, end = n; k > 0; --k) end = steps[k - 1] = last[k][end];
  return steps;
}

std::vector<ChangePoint> with_levels(std::span<const double> values,
                                     const std::vector<std::size_t>& steps) {
  std::vector<ChangePoint> changes;
  const auto level = [&](std::size_t from, std::size_t to) {
    return median({values.begin() + static_cast<std::ptrdiff_t>(from),
                   values.begin() + static_cast<std::ptrdiff_t>(to)});
  };
  for (std::size_t s = 0; s < steps.size(); ++s) {
    const std::size_t from = s == 0 ? 0 : steps[s - 1];
    const std::size_t to = s + 1 == steps.size() ? values.size() : steps[s + 1];
    changes.push_back({steps[s], level(from, steps[s]), level(steps[s], to)});
  }
  return changes;
}

double size_of(const ChangePoint& change) {
  return std::abs(change.after - change.before);
}

/// Two wild values at an end make a level of three with one that is not theirs.
bool is_misplaced(std::span<const double> values, const ChangePoint& change) {
  const auto lies_nearer = [](double value, double to, double than) {
    return std::abs(value - to) < std::abs(value - than);
  };
  return lies_nearer(values[change.at], change.before, change.after) ||
         lies_nearer(values[change.at - 1], change.after, change.before);
}

}  // namespace

std::vector<ChangePoint> change_points(std::span<const double> values, double smallest_step) {
  SALA_CHECK(smallest_step > 0, "a step has a size");
  if (values.size() < kFewestForChange) return {};
  std::vector<std::size_t> steps = best_steps(values, smallest_step / 10);
  for (;;) {
    const std::vector<ChangePoint> changes = with_levels(values, steps);
    // Without a step the levels beside it become one, so they go one by one, the smallest first.
    const ChangePoint* worst = nullptr;
    for (const ChangePoint& change : changes) {
      if (size_of(change) >= smallest_step && !is_misplaced(values, change)) continue;
      if (worst == nullptr || size_of(change) < size_of(*worst)) worst = &change;
    }
    if (worst == nullptr) return changes;
    std::erase(steps, worst->at);
  }
}

}  // namespace sala
