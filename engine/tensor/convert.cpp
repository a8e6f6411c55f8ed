// Names of dtypes and their conversion to fp32.
// SPDX-License-Identifier: Apache-2.0
#include "engine/tensor/convert.h"

#include <bit>
#include <cstring>

#include "engine/base/bf16.h"

namespace sala {

const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f16:
      return "f16";
  }
  return "?";
}

float f16_to_f32(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fU;
  const std::uint32_t mantissa = bits & 0x3ffU;
  if (exponent == 0) {  // zero or subnormal: mantissa · 2^-24
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide = exponent == 31 ? 255U : exponent + 112U;
  return std::bit_cast<float>(sign | (wide << 23) | (mantissa << 13));
}

void widen(TensorView from, std::int64_t first, std::int64_t count, float* to) {
  if (from.dtype == DType::f32) {
    std::memcpy(to, from.f32() + first, static_cast<std::size_t>(count) * sizeof(float));
    return;
  }
  const auto* bits = static_cast<const std::uint16_t*>(from.data) + first;
  if (from.dtype == DType::bf16) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = bf16_to_f32(bits[i]);
  } else {
    for (std::int64_t i = 0; i < count; ++i) to[i] = f16_to_f32(bits[i]);
  }
}

}  // namespace sala
