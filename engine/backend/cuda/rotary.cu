// Rotary embedding: one CTA a token, so that its angles are computed once; a warp a head.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/device/warp.cuh"
#include "engine/backend/cuda/rotary.h"
#include "engine/backend/cuda/vector8.cuh"

namespace sala::cuda {
namespace {

constexpr int kCta = 256;
constexpr int kWarps = kCta / 32;
/// Steps of 64 elements that a half of the longest head takes, two elements a lane.
constexpr int kSteps = kMaxRotaryPairs / 64;

__device__ __forceinline__ float2 angle_of(const RotaryParams& p, std::int64_t position, int i) {
  float2 result;
  if (p.exact_angle) {
    double sine = 0;
    double cosine = 0;
    sincos(static_cast<double>(position) / p.slowdown[i] * p.inv_freq[i], &sine, &cosine);
    result = {static_cast<float>(cosine), static_cast<float>(sine)};
  } else {
    const float slowed = static_cast<float>(position) * (1.0F / static_cast<float>(p.slowdown[i]));
    sincosf(slowed * static_cast<float>(p.inv_freq[i]), &result.y, &result.x);
  }
  result.x *= p.magnitude;
  result.y *= p.magnitude;
  return result;
}

__device__ __forceinline__ float2 load_pair(const __nv_bfloat16* from) {
  return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(from));
}

__device__ __forceinline__ void store_pair(__nv_bfloat16* to, float a, float b) {
  *reinterpret_cast<__nv_bfloat162*>(to) = __floats2bfloat162_rn(a, b);
}

/// Norm of one head that a warp holds: first and second half of its elements.
__device__ __forceinline__ void norm_head(const RotaryParams& p, int lane, float2 (&first)[kSteps],
                                          float2 (&second)[kSteps]) {
  const int half = p.head_dim / 2;
  float squares = 0;
#pragma unroll
  for (int s = 0; s < kSteps; ++s) {
    squares += first[s].x * first[s].x + first[s].y * first[s].y + second[s].x * second[s].x +
               second[s].y * second[s].y;
  }
  const float factor = rsqrtf(warp_sum(squares) / static_cast<float>(p.head_dim) + p.eps);
#pragma unroll
  for (int s = 0; s < kSteps; ++s) {
    const int i = s * 64 + lane * 2;
    if (i >= half) break;
    const float2 w1 = load_pair(p.weight + i);
    const float2 w2 = load_pair(p.weight + half + i);
    first[s].x = round_bf16(round_bf16(first[s].x * factor) * w1.x);
    first[s].y = round_bf16(round_bf16(first[s].y * factor) * w1.y);
    second[s].x = round_bf16(round_bf16(second[s].x * factor) * w2.x);
    second[s].y = round_bf16(round_bf16(second[s].y * factor) * w2.y);
  }
}

template <bool kNorm>
__global__ void __launch_bounds__(kCta) rotary_kernel(const __grid_constant__ RotaryParams p) {
  __shared__ float2 turn[kMaxRotaryPairs];  // cosine, sine
  const std::int64_t token = blockIdx.x;
  const std::int64_t position = p.position != nullptr ? *p.position : p.first_position + token;
  const int half = p.head_dim / 2;
  for (int i = static_cast<int>(threadIdx.x); i < half; i += kCta) {
    turn[i] = angle_of(p, position, i);
  }
  __syncthreads();

  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int head = static_cast<int>(threadIdx.x) / 32; head < p.n_heads; head += kWarps) {
    __nv_bfloat16* x = p.x + (token * p.n_heads + head) * p.head_dim;
    float2 first[kSteps] = {};
    float2 second[kSteps] = {};
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int i = s * 64 + lane * 2;
      if (i >= half) break;
      first[s] = load_pair(x + i);
      second[s] = load_pair(x + half + i);
    }
    if constexpr (kNorm) norm_head(p, lane, first, second);
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int i = s * 64 + lane * 2;
      if (i >= half) break;
      const float2 t0 = turn[i];
      const float2 t1 = turn[i + 1];
      store_pair(x + i, first[s].x * t0.x - second[s].x * t0.y,
                 first[s].y * t1.x - second[s].y * t1.y);
      store_pair(x + half + i, second[s].x * t0.x + first[s].x * t0.y,
                 second[s].y * t1.x + first[s].y * t1.y);
    }
  }
}

}  // namespace

cudaError_t launch_rotary(const RotaryParams& p, cudaStream_t stream) {
  if (p.head_dim % 4 != 0 || p.head_dim > 2 * kMaxRotaryPairs) return cudaErrorInvalidValue;
  if (p.n_tokens == 0) return cudaSuccess;
  const auto grid = static_cast<unsigned>(p.n_tokens);
  if (p.weight != nullptr) {
    rotary_kernel<true><<<grid, kCta, 0, stream>>>(p);
  } else {
    rotary_kernel<false><<<grid, kCta, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

}  // namespace sala::cuda
