// Where a series of run values steps from one level to another.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace sala {

/// Fewest values at one level.
inline constexpr std::size_t kShortestLevel = 3;
/// Fewest values that can show a step.
inline constexpr std::size_t kFewestForChange = 2 * kShortestLevel;

struct ChangePoint {
  std::size_t at = 0;  // index of the first value at the new level
  double before = 0;   // median of the level that ends
  double after = 0;    // median of the level that begins
};

/// The piecewise constant fit with the least 2 n ln(b) + 24 k over k steps, b being the mean
/// absolute deviation from the levels' medians but no less than a tenth of smallest_step, by
/// dynamic programming over levels of kShortestLevel values or more. A step smaller than
/// smallest_step, or one on whose either side the nearest value lies closer to the other level, is
/// taken out again. Of 100 series of independent noise around one level at most one shows a step:
/// tested for 6 to 100 values and seven shapes of noise. values: in order, finite; fewer than
/// kFewestForChange have no step. smallest_step: above 0, in the unit of the values.
std::vector<ChangePoint> change_points(std::span<const double> values, double smallest_step);

}  // namespace sala
