// Rotary embedding: one CTA a token, so that its angles are computed once.
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

/// Leaves the token's cosines and sines in shared memory, behind a barrier.
__device__ __forceinline__ void turn_of(const RotaryParams& p, float2* turn) {
  const std::int64_t position = p.position != nullptr ? *p.position : p.first_position + blockIdx.x;
  for (int i = static_cast<int>(threadIdx.x); i < p.head_dim / 2; i += kCta) {
    turn[i] = angle_of(p, position, i);
  }
  __syncthreads();
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

/// A warp a head, of any head_dim.
template <bool kNorm>
__global__ void __launch_bounds__(kCta) rotary_kernel(const __grid_constant__ RotaryParams p) {
  __shared__ float2 turn[kMaxRotaryPairs];  // cosine, sine
  turn_of(p, turn);
  const std::int64_t token = blockIdx.x;
  const int half = p.head_dim / 2;
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

/// kLanes lanes a head, each with eight elements of either half.
template <bool kNorm, int kLanes>
__global__ void __launch_bounds__(kCta)
    rotary_vector_kernel(const __grid_constant__ RotaryParams p) {
  constexpr int kHalf = kLanes * kVector;
  __shared__ __align__(16) float2 turn[kHalf];
  const int col = static_cast<int>(threadIdx.x) % kLanes * kVector;
  const int first_head = static_cast<int>(threadIdx.x) / kLanes;
  __nv_bfloat16* row = p.x + static_cast<std::int64_t>(blockIdx.x) * p.n_heads * 2 * kHalf + col;
  Vector8 a = {};
  Vector8 b = {};
  const auto load = [&](int head) {
    if (head >= p.n_heads) return;
    a = Vector8::load(row + head * 2 * kHalf);
    b = Vector8::load(row + head * 2 * kHalf + kHalf);
  };
  load(first_head);  // while angles are computed
  turn_of(p, turn);
  // Whole warps go round: lanes of a head that there is not take part in the sums.
  for (int head = first_head; head - first_head < p.n_heads; head += kCta / kLanes) {
    if constexpr (kNorm) {
      float squares = 0;
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        squares += a.value[i] * a.value[i] + b.value[i] * b.value[i];
      }
      const float factor =
          rsqrtf(warp_sum<kLanes>(squares) / static_cast<float>(2 * kHalf) + p.eps);
      const Vector8 w1 = Vector8::load(p.weight + col);
      const Vector8 w2 = Vector8::load(p.weight + kHalf + col);
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        a.value[i] = round_bf16(round_bf16(a.value[i] * factor) * w1.value[i]);
        b.value[i] = round_bf16(round_bf16(b.value[i] * factor) * w2.value[i]);
      }
    }
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const float2 t = turn[col + i];
      const float first = a.value[i];
      a.value[i] = first * t.x - b.value[i] * t.y;
      b.value[i] = b.value[i] * t.x + first * t.y;
    }
    if (head < p.n_heads) {
      a.store(row + head * 2 * kHalf);
      b.store(row + head * 2 * kHalf + kHalf);
    }
    load(head + kCta / kLanes);
  }
}

template <bool kNorm>
void run(const RotaryParams& p, cudaStream_t stream) {
  const auto grid = static_cast<unsigned>(p.n_tokens);
  const bool vectors = is_aligned(p.x) && is_aligned(p.weight);
  if (vectors && p.head_dim == 64) {
    rotary_vector_kernel<kNorm, 4><<<grid, kCta, 0, stream>>>(p);
  } else if (vectors && p.head_dim == 128) {
    rotary_vector_kernel<kNorm, 8><<<grid, kCta, 0, stream>>>(p);
  } else {
    rotary_kernel<kNorm><<<grid, kCta, 0, stream>>>(p);
  }
}

}  // namespace

cudaError_t launch_rotary(const RotaryParams& p, cudaStream_t stream) {
  if (p.head_dim % 4 != 0 || p.head_dim > 2 * kMaxRotaryPairs) return cudaErrorInvalidValue;
  if (p.n_tokens == 0) return cudaSuccess;
  if (p.weight != nullptr) {
    run<true>(p, stream);
  } else {
    run<false>(p, stream);
  }
  return cudaGetLastError();
}

}  // namespace sala::cuda
