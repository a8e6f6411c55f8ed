// Parts of attention over blocks: which ones a row reads, and a running softmax.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/attention/infllm_v2/cuda/attend.h"
#include "engine/attention/infllm_v2/cuda/key_tile.cuh"
#include "engine/backend/cuda/device/warp.cuh"

namespace sala::cuda::infllm_v2 {

/// Mask of blocks 32 * word on that the row at t, in block off, reads.
__device__ __forceinline__ std::uint32_t row_mask(const AttendParams& p, std::int64_t head,
                                                  std::int64_t t, std::int64_t row,
                                                  std::int64_t off, std::int64_t word) {
  if (t < p.ranked_begin) return bits_between(word, 0, off + 1);
  return p.masks[(row * p.shape.n_kv_heads + head) * p.mask_stride + word];
}

/// Weights of 8 * kColumns keys, two in a register: A fragments of their product with values.
template <int kColumns>
struct Weights {
  std::uint32_t pairs[kColumns][2];
};

/// Running softmax of a warp's 16 rows: a lane holds two of them, kDim / 8 pairs of columns each.
template <int kDim>
struct Softmax {
  float max[2] = {kLowest, kLowest};
  float sum[2] = {0.0F, 0.0F};  // of this lane's columns
  float out[kDim / 8][4] = {};

  /// Turns scores of keys from `first` on into weights against the new maximum and brings sums and
  /// outputs up to it. Keys from n_visible on are hidden. factor: of scores, log2(e) included.
  template <int kColumns>
  __device__ __forceinline__ void weigh(float (&scores)[kColumns][4], int first, int n_visible,
                                        float factor, Weights<kColumns>& weights) {
    if (first + 8 * kColumns > n_visible) hide(first, n_visible, scores);
    rescale(scores, factor);
#pragma unroll
    for (int column = 0; column < kColumns; ++column) {
      weights.pairs[column][0] = pack_bf16(scores[column][0], scores[column][1]);
      weights.pairs[column][1] = pack_bf16(scores[column][2], scores[column][3]);
    }
  }

  /// Sums over the lanes that share a row.
  __device__ __forceinline__ void finish() {
    sum[0] = warp_sum<4>(sum[0]);
    sum[1] = warp_sum<4>(sum[1]);
  }

 private:
  template <int kColumns>
  static __device__ __forceinline__ void hide(int first, int n_visible,
                                              float (&scores)[kColumns][4]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < 4 * kColumns; ++i) {
      const int key = first + i / 4 * 8 + c_fragment(lane, i % 4).col;
      if (key >= n_visible) scores[i / 4][i % 4] = -INFINITY;
    }
  }

  template <int kColumns>
  __device__ __forceinline__ void rescale(float (&scores)[kColumns][4], float factor) {
    float fade[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = -INFINITY;
#pragma unroll
      for (const auto& column : scores) {
        largest = fmaxf(largest, fmaxf(column[half * 2], column[half * 2 + 1]));
      }
      const float old = max[half];
      max[half] = fmaxf(old, warp_max<4>(largest) * factor);
      fade[half] = fast_exp2(old - max[half]);
      float added = 0.0F;
#pragma unroll
      for (auto& column : scores) {
#pragma unroll
        for (int i = half * 2; i < half * 2 + 2; ++i) {
          column[i] = fast_exp2(fmaf(column[i], factor, -max[half]));
          added += column[i];
        }
      }
      sum[half] = sum[half] * fade[half] + added;
    }
    // Maxima settle after a few blocks.
    if (!__any_sync(kWarp, fade[0] != 1.0F || fade[1] != 1.0F)) return;
#pragma unroll
    for (auto& column : out) {
#pragma unroll
      for (int i = 0; i < 4; ++i) column[i] *= fade[i / 2];
    }
  }
};

/// Adds values of keys from `first` on to the outputs of kTokens tokens.
template <int kDim, int kTokens, int kColumns>
__device__ __forceinline__ void add_values(Softmax<kDim>* softmax,
                                           const Weights<kColumns> (&weights)[kTokens],
                                           const __nv_bfloat16* values, int first) {
  const Element from = b_address_transposed(static_cast<int>(threadIdx.x) % 32);
  const std::uint32_t lane_values =
      shared_address(values + panel_element<kBlock>(first + from.row, from.col));
#pragma unroll
  for (int k = 0; k < kColumns / 2; ++k) {
#pragma unroll
    for (int column = 0; column < kDim / 8; column += 2) {
      std::uint32_t b[4];
      ldmatrix_x4_transposed(
          b, panel_further<kBlock>(lane_values, column * 8) + k * 16 * kPanelCols * 2);
#pragma unroll
      for (int n = 0; n < kTokens; ++n) {
        const auto& low = weights[n].pairs[2 * k];
        const auto& high = weights[n].pairs[2 * k + 1];
        const std::uint32_t a[4] = {low[0], low[1], high[0], high[1]};
        mma_bf16(softmax[n].out[column], a, b[0], b[1]);
        mma_bf16(softmax[n].out[column + 1], a, b[2], b[3]);
      }
    }
  }
}

}  // namespace sala::cuda::infllm_v2
