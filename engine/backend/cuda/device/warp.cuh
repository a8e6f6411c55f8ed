// Reductions over a warp in a fixed order, and fast base-2 exponentials.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace sala::cuda {

constexpr unsigned kWarp = 0xffffffffU;
constexpr float kLog2e = 1.4426950408889634F;

/// Sum over groups of kLanes neighbouring lanes; every lane gets it, the same bits in all.
template <int kLanes = 32>
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(kWarp, x, step);
  return x;
}

template <int kLanes = 32>
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) {
    x = fmaxf(x, __shfl_xor_sync(kWarp, x, step));
  }
  return x;
}

/// 2^x with a relative error of about 2^-22; 0 for very negative x, -infinity included.
__device__ __forceinline__ float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace sala::cuda
