// Conversion of stored numbers to fp32.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/tensor/tensor.h"

namespace sala {

float f16_to_f32(std::uint16_t bits);

/// Writes elements [first, first + count) of `from`, of any dtype, as fp32.
void widen(TensorView from, std::int64_t first, std::int64_t count, float* to);

}  // namespace sala
