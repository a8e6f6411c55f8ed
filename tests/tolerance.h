// How far results of the fp32 CPU path may be from references: the one table.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>

namespace sala::testing {

/// Largest |actual - expected| over max(|expected|, root mean square of all expected).
namespace tolerance {
constexpr double kElementwise = 2e-6;  // norms, activations, embedding
constexpr double kRotary = 2e-6;       // angles rounded to fp32 on both sides
constexpr double kProduct = 1e-5;      // sums of up to a few thousand products
constexpr double kSoftmax = 3e-5;      // a softmax layer with its projections
constexpr double kLinear = 1e-4;       // a linear layer: norm after long sums that cancel
constexpr double kChunking = 3e-5;     // the same layer, cut another way
constexpr double kWindowMean = 1e-6;   // means of up to 128 keys

// Logits of a whole model: largest difference over the largest expected.
constexpr double kModel = 1e-5;        // against fp64: 1.6e-6 measured, a wrong formula makes 1e-2
constexpr double kModelGolden = 1e-4;  // against fp32, whose angles at 1000 tokens are off by 6e-5
// Logits of a whole model: largest difference.
constexpr double kModelLaw = 1e-4;  // the same model, cut another way: of 3, 5e-6 measured
constexpr double kNeedle = 5e-3;    // of 10 to 20: 12 layers against fp64
}  // namespace tolerance

/// Compares element by element; first where they are not finite.
template <typename Expected>
void expect_close(std::span<const float> actual, std::span<const Expected> expected,
                  double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  double squares = 0;
  for (const Expected e : expected) squares += static_cast<double>(e) * static_cast<double>(e);
  const double typical = std::sqrt(squares / static_cast<double>(expected.size()));
  double worst = 0;
  std::size_t where = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const auto a = static_cast<double>(actual[i]);
    const auto e = static_cast<double>(expected[i]);
    ASSERT_EQ(std::isfinite(a), std::isfinite(e)) << "at " << i << ": " << a << " against " << e;
    if (!std::isfinite(e)) continue;
    const double error = std::abs(a - e) / std::max({std::abs(e), typical, 1e-30});
    if (error > worst) {
      worst = error;
      where = i;
    }
  }
  EXPECT_LE(worst, tolerance) << "at " << where << ": " << actual[where] << " against "
                              << expected[where];
}

}  // namespace sala::testing
