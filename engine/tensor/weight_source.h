// Where a layer gets its weights from, without knowing files or formats.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "engine/backend/backend.h"

namespace sala {

/// Hands out weights by name, on the device. A file, or random numbers for speed tests.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  /// The (rows, cols) weight of that name; a vector has rows = 1. Throws Error naming the file and
  /// tensor when it is missing or of another shape or dtype.
  virtual Tensor load(const std::string& name, std::int64_t rows, std::int64_t cols) = 0;
};

}  // namespace sala
