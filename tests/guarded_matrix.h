// A matrix between guard words, filled with NaN until somebody writes it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "engine/tensor/tensor.h"

namespace sala::testing {

class GuardedMatrix {
 public:
  GuardedMatrix(std::int64_t rows, std::int64_t cols)
      : rows_(rows),
        cols_(cols),
        memory_(static_cast<std::size_t>(rows * cols) + 2 * kGuard, kWord) {
    std::fill_n(memory_.begin() + kGuard, rows * cols, std::numeric_limits<float>::quiet_NaN());
  }
  GuardedMatrix(std::int64_t rows, std::int64_t cols, const std::vector<float>& values)
      : GuardedMatrix(rows, cols) {
    std::copy(values.begin(), values.end(), memory_.begin() + kGuard);
  }

  TensorView view() { return {memory_.data() + kGuard, DType::f32, rows_, cols_}; }
  std::span<const float> values() const {
    return {memory_.data() + kGuard, static_cast<std::size_t>(rows_ * cols_)};
  }
  void expect_guards_intact() const {
    for (std::size_t i = 0; i < kGuard; ++i) {
      ASSERT_EQ(memory_[i], kWord) << "written before the matrix";
      ASSERT_EQ(memory_[memory_.size() - 1 - i], kWord) << "written behind the matrix";
    }
  }

 private:
  static constexpr std::size_t kGuard = 32;
  static constexpr float kWord = 12345.5F;

  std::int64_t rows_;
  std::int64_t cols_;
  std::vector<float> memory_;
};

}  // namespace sala::testing
