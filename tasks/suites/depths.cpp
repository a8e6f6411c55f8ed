// Grids of depths and lengths as NumPy makes them.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/suites/depths.h"

#include <fmt/format.h>

#include <cmath>
#include <string>

namespace sala {
namespace {

double step(double first, double last, std::size_t i, std::size_t n) {
  if (i + 1 == n) return last;
  return static_cast<double>(i) * ((last - first) / static_cast<double>(n - 1)) + first;
}

}  // namespace

std::vector<double> linear_steps(double first, double last, std::size_t n) {
  std::vector<double> steps;
  steps.reserve(n);
  for (std::size_t i = 0; i < n; ++i) steps.push_back(std::nearbyint(step(first, last, i, n)));
  return steps;
}

std::vector<double> sigmoid_depths(std::size_t n) {
  std::vector<double> depths;
  depths.reserve(n);
  for (std::size_t i = 0; i < n; ++i) {
    const double x = step(0, 100, i, n);
    const bool is_end = i == 0 || i + 1 == n;
    const double depth = is_end ? x : 100 / (1 + std::exp(0.1 * (x - 50)));
    depths.push_back(std::stod(fmt::format("{:.3f}", depth)));
  }
  return depths;
}

}  // namespace sala
