// Seeded random weights and inputs for kernel tests.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "engine/tensor/weight_source.h"

namespace sala::testing {

inline std::vector<float> random_floats(std::int64_t n, std::uint64_t seed, float deviation = 1.0F,
                                        float mean = 0.0F) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(mean, deviation);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = normal(random);
  return values;
}

inline std::vector<double> widened(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

/// Weights as a function of seed and name: deviation 1 / sqrt(cols), vectors around 1.
class SeededWeights final : public WeightSource {
 public:
  SeededWeights(std::uint64_t seed, Backend& backend) : seed_(seed), backend_(backend) {}

  Tensor load(const std::string& name, std::int64_t rows, std::int64_t cols) override {
    std::vector<float> host = values(name, rows, cols);
    return backend_.upload({host.data(), DType::f32, rows, cols}, "weights");
  }

  std::vector<float> values(const std::string& name, std::int64_t rows, std::int64_t cols) const {
    const std::uint64_t seed = seed_ ^ std::hash<std::string>{}(name);
    if (rows == 1) return random_floats(cols, seed, 0.2F, 1.0F);
    return random_floats(rows * cols, seed, 1.0F / std::sqrt(static_cast<float>(cols)));
  }

  /// The same values for an fp64 reference.
  auto reference() const {
    return [this](const std::string& name, std::int64_t rows, std::int64_t cols) {
      return widened(values(name, rows, cols));
    };
  }

 private:
  std::uint64_t seed_;
  Backend& backend_;
};

}  // namespace sala::testing
