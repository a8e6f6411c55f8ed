// Row loops against the standard library in fp64.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/vector_math.h"

#include <cmath>
#include <limits>

#include "tests/random_weights.h"
#include "tests/tolerance.h"

namespace sala::testing {
namespace {

double ulps(float actual, double expected) {
  const auto nearest = static_cast<float>(expected);
  const double ulp =
      static_cast<double>(std::nextafter(nearest, INFINITY)) - static_cast<double>(nearest);
  return std::abs(static_cast<double>(actual) - expected) / ulp;
}

TEST(VectorMath, exp_is_within_two_ulps) {
  std::vector<float> x;
  for (float value = -87.3F; value < 88.7F; value += 0.00137F) x.push_back(value);
  for (float value : {0.0F, -0.0F, 1e-30F, -1e-30F, 1e-7F, -1e-7F}) x.push_back(value);
  std::vector<float> y(x.size());
  vector_exp(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    worst = std::max(worst, ulps(y[i], std::exp(static_cast<double>(x[i]))));
  }
  EXPECT_LE(worst, 2.0);
}

TEST(VectorMath, exp_has_the_right_limits) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const std::vector<float> x{-kInf, -1e30F, -100.0F, 89.0F, 1e30F, kInf, NAN, 0.0F};
  std::vector<float> y(x.size());
  vector_exp(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
  EXPECT_EQ(y[0], 0.0F);
  EXPECT_EQ(y[1], 0.0F);
  EXPECT_LT(y[2], 1e-37F);
  EXPECT_EQ(y[3], kInf);
  EXPECT_EQ(y[4], kInf);
  EXPECT_EQ(y[5], kInf);
  EXPECT_TRUE(std::isnan(y[6]));
  EXPECT_EQ(y[7], 1.0F);
}

TEST(VectorMath, rotation_keeps_its_accuracy_at_any_position) {
  constexpr std::int64_t kHalf = 35;  // not a multiple of any vector
  std::vector<double> inv_freq;
  inv_freq.reserve(kHalf);
  for (std::int64_t i = 0; i < kHalf; ++i) {
    inv_freq.push_back(std::pow(10000.0, -static_cast<double>(i) / kHalf));
  }
  const std::vector<double> slowdown(kHalf, 1.0);
  for (const std::int64_t position : {0, 1, 255, 65536, 1048575, 2097151}) {
    for (const bool exact : {false, true}) {
      std::vector<float> x = random_floats(2 * 2 * kHalf, 5);
      const std::vector<float> before = x;
      std::vector<float> table(2 * kHalf);
      rotate_row(x.data(), 2, kHalf, {inv_freq.data(), slowdown.data(), 1.0F, exact}, position,
                 table.data());
      std::vector<double> expected(x.size());
      for (std::size_t h = 0; h < 2; ++h) {
        for (std::size_t i = 0; i < kHalf; ++i) {
          const double angle = exact ? static_cast<double>(position) * inv_freq[i]
                                     : static_cast<double>(static_cast<float>(position) *
                                                           static_cast<float>(inv_freq[i]));
          const auto a = static_cast<double>(before[h * 2 * kHalf + i]);
          const auto b = static_cast<double>(before[h * 2 * kHalf + kHalf + i]);
          expected[h * 2 * kHalf + i] = a * std::cos(angle) - b * std::sin(angle);
          expected[h * 2 * kHalf + kHalf + i] = b * std::cos(angle) + a * std::sin(angle);
        }
      }
      expect_close(std::span<const float>(x), std::span<const double>(expected),
                   tolerance::kRotary);
    }
  }
}

TEST(VectorMath, softmax_over_tiles_equals_softmax_over_all) {
  constexpr std::int64_t kKeys = 150;
  constexpr std::int64_t kDim = 24;
  std::vector<float> scores = random_floats(kKeys, 11, 10.0F);
  const std::vector<float> values = random_floats(kKeys * kDim, 12);
  std::vector<double> expected(kDim);
  double sum = 0;
  for (std::size_t j = 0; j < kKeys; ++j) sum += std::exp(static_cast<double>(scores[j]));
  for (std::size_t j = 0; j < kKeys; ++j) {
    for (std::size_t c = 0; c < kDim; ++c) {
      expected[c] += std::exp(static_cast<double>(scores[j])) / sum *
                     static_cast<double>(values[j * kDim + c]);
    }
  }
  float max = -INFINITY;
  float total = 0;
  std::vector<float> out(kDim);
  for (std::int64_t j = 0; j < kKeys; j += 64) {
    const std::int64_t width = std::min<std::int64_t>(64, kKeys - j);
    const auto visible = static_cast<std::int32_t>(width);
    float* tile = scores.data() + j;
    softmax_step(tile, 64, 1, width, &visible, 1, {&max, &total, out.data(), kDim});
    for (std::int64_t i = 0; i < width; ++i) {
      add_scaled_row(values.data() + (j + i) * kDim, tile[i], out.data(), kDim);
    }
  }
  scale_row(out.data(), 1.0F / total, out.data(), kDim);
  expect_close(std::span<const float>(out), std::span<const double>(expected), tolerance::kProduct);
}

TEST(VectorMath, scores_beyond_the_visible_count_become_zero) {
  std::vector<float> scores(16, NAN);
  scores[0] = 1.0F;
  scores[1] = 2.0F;
  const std::int32_t visible = 2;
  float max = -INFINITY;
  float sum = 0;
  softmax_step(scores.data(), 16, 1, 16, &visible, 1, {&max, &sum, nullptr, 0});
  EXPECT_EQ(max, 2.0F);
  EXPECT_NEAR(sum, 1.0F + std::exp(-1.0F), 1e-6F);
  for (std::size_t j = 2; j < 16; ++j) EXPECT_EQ(scores[j], 0.0F);
}

}  // namespace
}  // namespace sala::testing
