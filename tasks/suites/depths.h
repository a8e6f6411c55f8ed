// Grids of depths and lengths as NumPy makes them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

namespace sala {

/// round(linspace(first, last, n)), halves to even.
std::vector<double> linear_steps(double first, double last, std::size_t n);

/// The needle grid's second list of depths in percent: a logistic curve between its ends, as
/// published, where it falls from one to the other.
std::vector<double> sigmoid_depths(std::size_t n);

}  // namespace sala
