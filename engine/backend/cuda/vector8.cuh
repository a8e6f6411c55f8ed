// Eight bf16 values in one 16-byte access.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace sala::cuda {

constexpr int kVector = 8;

/// Whether 16-byte accesses at multiples of eight elements are aligned.
inline bool is_aligned(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
}

struct Vector8 {
  float value[kVector];

  static __device__ __forceinline__ Vector8 unpack(const uint4& bits) {
    const std::uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
    Vector8 v;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      v.value[2 * i] = __uint_as_float(words[i] << 16);
      v.value[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000U);
    }
    return v;
  }
  static __device__ __forceinline__ Vector8 load(const __nv_bfloat16* from) {
    return unpack(*reinterpret_cast<const uint4*>(from));
  }
  __device__ __forceinline__ void store(__nv_bfloat16* to) const {
    __nv_bfloat162 pairs[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) pairs[i] = __floats2bfloat162_rn(value[2 * i], value[2 * i + 1]);
    *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(pairs);
  }
};

/// What a value becomes once stored in bf16.
__device__ __forceinline__ float round_bf16(float x) {
  return __bfloat162float(__float2bfloat16_rn(x));
}

__device__ __forceinline__ float sigmoid(float x) {
  return 1.0F / (1.0F + __expf(-x));
}

}  // namespace sala::cuda
