// Parts of block scoring: running exponential sums, sums over heads, and pooling of windows.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/attention/infllm_v2/cuda/layout.h"
#include "engine/backend/cuda/device/warp.cuh"

namespace sala::cuda::infllm_v2 {

constexpr int kStrip = 32;   // windows of k1 that are pooled together
constexpr int kColumns = 2;  // accumulators (16, 8) at a time: half a strip; more would spill

constexpr float kLargest = 3.3895313892515355e38F;  // of bf16: scores stay finite

/// Sum of 2^(x - max) with the maximum that goes with it.
struct ExpSum {
  float max = kLowest;
  float sum = 0.0F;
};

__device__ __forceinline__ ExpSum merge(ExpSum a, ExpSum b) {
  const float max = fmaxf(a.max, b.max);
  return {max, a.sum * fast_exp2(a.max - max) + b.sum * fast_exp2(b.max - max)};
}
/// Merges over groups of kLanes lanes that are kStep apart; every lane gets it.
template <int kLanes, int kStep>
__device__ __forceinline__ ExpSum warp_merge(ExpSum x) {
#pragma unroll
  for (int step = kStep; step < kLanes * kStep; step *= 2) {
    x = merge(x, {__shfl_xor_sync(kWarp, x.max, step), __shfl_xor_sync(kWarp, x.sum, step)});
  }
  return x;
}
/// log2 of the sum of 2^x.
__device__ __forceinline__ float log2_sum(ExpSum x) {
  return x.max + __log2f(x.sum);
}

/// Adds a lane's scores of each of its two rows. factor: of scores, log2(e) included; n_valid:
/// columns that count.
__device__ __forceinline__ void add_scores(const float (&scores)[kColumns][4], float factor,
                                           int n_valid, ExpSum (&rows)[2]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float x[2 * kColumns];
    float max = rows[half].max;
#pragma unroll
    for (int i = 0; i < 2 * kColumns; ++i) {
      const int column = i / 2 * 8 + c_fragment(lane, i % 2).col;
      x[i] = column < n_valid ? scores[i / 2][half * 2 + i % 2] * factor : -INFINITY;
      max = fmaxf(max, x[i]);
    }
    float sum = rows[half].sum * fast_exp2(rows[half].max - max);
#pragma unroll
    for (const float value : x) sum += fast_exp2(value - max);
    rows[half] = {max, sum};
  }
}

/// Weights of the windows of kColumns accumulators, added over the two rows that a lane holds.
__device__ __forceinline__ void add_weights(const float (&scores)[kColumns][4], float factor,
                                            const float (&lse)[2], float* weights) {
#pragma unroll
  for (int i = 0; i < 2 * kColumns; ++i) {
    weights[i] = fast_exp2(fmaf(scores[i / 2][i % 2], factor, -lse[0])) +
                 fast_exp2(fmaf(scores[i / 2][2 + i % 2], factor, -lse[1]));
  }
}

/// Adds n values over pairs of lanes that differ in lane bit `bit`: lanes without it get the sums
/// of `lower`, lanes with it those of `upper`. out may be lower.
template <int kValues>
__device__ __forceinline__ void fold(const float* lower, const float* upper, int bit, float* out) {
  const bool keeps_upper = (threadIdx.x & static_cast<unsigned>(bit)) != 0;
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    const float given = __shfl_xor_sync(kWarp, keeps_upper ? lower[i] : upper[i], bit);
    out[i] = (keeps_upper ? upper[i] : lower[i]) + given;
  }
}

/// Head sums of a strip's windows: from those that were folded over lane bit 16, four of either
/// half of the strip. Afterwards lane l holds windows 2 * (l % 16) and the next of the strip that
/// lanes with its bit 16 kept.
__device__ __forceinline__ float2 head_sums(float (&folded)[8]) {
  fold<4>(folded, folded + 4, 8, folded);
  fold<2>(folded, folded + 2, 4, folded);
  return {folded[0], folded[1]};
}

/// Score of the block whose four windows an even lane and the next hold; left: the window before
/// them. Only even lanes get it.
__device__ __forceinline__ __nv_bfloat16 pool(float2 sums, float left) {
  const float own = fmaxf(sums.x, sums.y);
  const float four = fmaxf(own, __shfl_xor_sync(kWarp, own, 1));
  return __float2bfloat16_rn(fminf(fmaxf(four, left), kLargest));
}

}  // namespace sala::cuda::infllm_v2
