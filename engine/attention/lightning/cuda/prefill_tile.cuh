// The four products of a tile of linear attention, by one block of eight warps.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>

#include "engine/attention/lightning/cuda/tiles.h"
#include "engine/backend/cuda/device/keep_in_loop.cuh"
#include "engine/backend/cuda/device/ldmatrix.cuh"
#include "engine/backend/cuda/device/load_rows.cuh"
#include "engine/backend/cuda/device/mma.cuh"
#include "engine/backend/cuda/device/warp.cuh"

namespace sala::cuda::lightning {

constexpr int kThreads = 256;

/// γ^steps for γ = 2^-slope_log2.
__device__ __forceinline__ float decay(float slope_log2, int steps) {
  return fast_exp2(-slope_log2 * static_cast<float>(steps));
}

/// A thread's place in the block, and where its lane points inside a swizzled piece; pieces at
/// other rows and columns follow by swizzled_at().
template <int kDim>
struct Place {
  int warp = static_cast<int>(threadIdx.x) / 32;
  int lane = static_cast<int>(threadIdx.x) % 32;
  int plain = part<kDim>(a_address(lane));    // of A stored [row][k], B stored [k][n]
  int turned = part<kDim>(b_address(lane));   // of B stored [n][k], A stored [k][row]
  int score = part<kTile>(a_address(lane));   // of A from the scores
  int sum = part<kDim>(c_fragment(lane, 0));  // of a rounded accumulator
  int sum_score = part<kTile>(c_fragment(lane, 0));

  template <int kCols>
  static __device__ int part(Element at) {
    return swizzled<kCols>(at.row, at.col);
  }
};

/// A warp's part of a state (kDim of k, kDim of v): the warps form a grid of four by two.
template <int kDim>
struct StateTile {
  static constexpr int kRows = kDim / 4;
  static constexpr int kCols = kDim / 2;
  float sum[kRows / 16][kCols / 8][4];

  /// visit(first row, first column, low, high) of every pair of neighbouring elements, which lie
  /// at the first row and column plus those of c_fragment(lane, 0).
  template <typename Visit>
  __device__ __forceinline__ void for_each_pair(int warp, const Visit& visit) {
#pragma unroll
    for (int m = 0; m < kRows / 16; ++m) {
#pragma unroll
      for (int n = 0; n < kCols / 8; ++n) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          visit(warp / 2 * kRows + m * 16 + half * 8, warp % 2 * kCols + n * 8, sum[m][n][half * 2],
                sum[m][n][half * 2 + 1]);
        }
      }
    }
  }

  /// state = γ^n state + Σ_j γ^(steps to the end) k_jᵀ v_j over the rows of a tile. The decayed key
  /// is rounded to bf16 once, before the product.
  __device__ __forceinline__ void update(const __nv_bfloat16* k, const __nv_bfloat16* v,
                                         ValidRows rows, float slope_log2,
                                         const Place<kDim>& place) {
    const float keep = decay(slope_log2, rows.end - rows.first);
    for_each_pair(place.warp, [&](int, int, float& low, float& high) {
      low *= keep;
      high *= keep;
    });
#pragma unroll
    for (int step = 0; step < kTile / 16; ++step) {
      float weight[4];  // of tokens 2c, 2c + 1, 2c + 8, 2c + 9 of the step
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int token = step * 16 + place.lane % 4 * 2 + i % 2 + i / 2 * 8;
        weight[i] = decay(slope_log2, steps_to_end(rows, token));
      }
      std::uint32_t a[kRows / 16][4];
#pragma unroll
      for (int m = 0; m < kRows / 16; ++m) {
        ldmatrix_x4_transposed(
            a[m], k + swizzled_at<kDim>(place.turned, step * 16, place.warp / 2 * kRows + m * 16));
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float low = __uint_as_float(a[m][i] << 16) * weight[i / 2 * 2];
          const float high = __uint_as_float(a[m][i] & 0xffff0000U) * weight[i / 2 * 2 + 1];
          a[m][i] = pack_bf16(low, high);
        }
      }
#pragma unroll
      for (int n = 0; n < kCols / 16; ++n) {
        std::uint32_t b[4];
        ldmatrix_x4_transposed(
            b, v + swizzled_at<kDim>(place.plain, step * 16, place.warp % 2 * kCols + n * 16));
#pragma unroll
        for (int m = 0; m < kRows / 16; ++m) {
          mma_bf16(sum[m][2 * n], a[m], b[0], b[1]);
          mma_bf16(sum[m][2 * n + 1], a[m], b[2], b[3]);
        }
      }
    }
  }

  /// The bf16 copy that the next tile's queries are multiplied with.
  __device__ __forceinline__ void round_to(__nv_bfloat16* tile, const Place<kDim>& place) {
    for_each_pair(place.warp, [&](int row, int col, float low, float high) {
      *reinterpret_cast<std::uint32_t*>(tile + swizzled_at<kDim>(place.sum, row, col)) =
          pack_bf16(low, high);
    });
  }

  /// The same places of a plain fp32 state.
  static __device__ __forceinline__ int offset(int row, int col, const Place<kDim>& place) {
    const Element at = c_fragment(place.lane, 0);
    return (row + at.row) * kDim + col + at.col;
  }
  __device__ __forceinline__ void load(const float* state, const Place<kDim>& place) {
    for_each_pair(place.warp, [&](int row, int col, float& low, float& high) {
      const float2 pair = *reinterpret_cast<const float2*>(state + offset(row, col, place));
      low = pair.x;
      high = pair.y;
    });
  }
  __device__ __forceinline__ void store(float* state, const Place<kDim>& place) {
    for_each_pair(place.warp, [&](int row, int col, float low, float high) {
      *reinterpret_cast<float2*>(state + offset(row, col, place)) = make_float2(low, high);
    });
  }
  __device__ __forceinline__ void clear() {
    for_each_pair(0, [](int, int, float& low, float& high) { low = high = 0.0F; });
  }
};

/// A warp's part of a tile's outputs: the warps form a grid of two (32 rows each) by four.
template <int kDim>
struct OutputTile {
  static constexpr int kCols = kDim / 4;
  static constexpr int kKeys = kTile / 4;  // of the warp's part of the scores
  float out[2][kCols / 8][4];
  float score[2][kKeys / 8][4];

  /// Whether the warp's scores are all of keys later than its rows.
  static __device__ bool is_masked(int warp) { return warp / 4 == 0 && warp % 4 * kKeys >= 32; }

  /// out = q · state and score = q · kᵀ, sharing the loads of q.
  __device__ __forceinline__ void read_past(const __nv_bfloat16* q, const __nv_bfloat16* k,
                                            const __nv_bfloat16* state, const Place<kDim>& place) {
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int n = 0; n < kCols / 8; ++n) out[m][n][i] = 0.0F;
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) score[m][n][i] = 0.0F;
      }
    }
#pragma unroll
    for (int step = 0; step < kDim / 16; ++step) {
      std::uint32_t a[2][4];
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        ldmatrix_x4(a[m],
                    q + swizzled_at<kDim>(place.plain, place.warp / 4 * 32 + m * 16, step * 16));
      }
      if (!is_masked(place.warp)) {
        std::uint32_t b[4];
        ldmatrix_x4(b, k + swizzled_at<kDim>(place.turned, place.warp % 4 * kKeys, step * 16));
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          mma_bf16(score[m][0], a[m], b[0], b[1]);
          mma_bf16(score[m][1], a[m], b[2], b[3]);
        }
      }
      multiply(a, state, step, place);
    }
  }

  /// Fades both parts by their distances and leaves the scores, rounded, in `p` (64, 64).
  __device__ __forceinline__ void fade(__nv_bfloat16* p, ValidRows rows, float slope_log2,
                                       float scale, const Place<kDim>& place) {
    const Element at = c_fragment(place.lane, 0);
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int first_row = place.warp / 4 * 32 + m * 16 + half * 8;
        const int row = first_row + at.row;
        const float fading = scale * decay(slope_log2, steps_to_row(rows, row));
#pragma unroll
        for (int n = 0; n < kCols / 8; ++n) {
          out[m][n][half * 2] *= fading;
          out[m][n][half * 2 + 1] *= fading;
        }
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) {
          const int first_key = place.warp % 4 * kKeys + n * 8;
          const int distance = row - first_key - at.col;
          const float low = distance >= 0 ? scale * decay(slope_log2, distance) : 0.0F;
          const float high = distance >= 1 ? scale * decay(slope_log2, distance - 1) : 0.0F;
          *reinterpret_cast<std::uint32_t*>(
              p + swizzled_at<kTile>(place.sum_score, first_row, first_key)) =
              pack_bf16(score[m][n][half * 2] * low, score[m][n][half * 2 + 1] * high);
        }
      }
    }
  }

  /// out += p · v; the upper rows of a tile see only its first 32 keys.
  __device__ __forceinline__ void read_tile(const __nv_bfloat16* p, const __nv_bfloat16* v,
                                            const Place<kDim>& place) {
    const int n_steps = place.warp / 4 == 0 ? 2 : 4;
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      if (step >= n_steps) break;
      std::uint32_t a[2][4];
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        ldmatrix_x4(a[m],
                    p + swizzled_at<kTile>(place.score, place.warp / 4 * 32 + m * 16, step * 16));
      }
      multiply(a, v, step, place);
    }
  }

  /// Writes the valid rows to `to`, where row 0 of the tile would lie, in pieces of 16 bytes.
  /// patch: shared memory of this warp alone, 32 * kCols elements.
  __device__ __forceinline__ void store(__nv_bfloat16* to, std::int64_t stride, ValidRows rows,
                                        __nv_bfloat16* patch, const Place<kDim>& place) {
    constexpr int kPieces = kCols / 8;
    const Element at = c_fragment(place.lane, 0);
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int n = 0; n < kCols / 8; ++n) {
          const int offset = patch_offset<kCols>(m * 16 + half * 8 + at.row, n) + at.col;
          *reinterpret_cast<std::uint32_t*>(patch + offset) =
              pack_bf16(out[m][n][half * 2], out[m][n][half * 2 + 1]);
        }
      }
    }
    __syncwarp();
    const int piece = place.lane % kPieces;
#pragma unroll
    for (int pass = 0; pass < kPieces; ++pass) {
      const int row = pass * (32 / kPieces) + place.lane / kPieces;
      const uint4 value = *reinterpret_cast<const uint4*>(patch + patch_offset<kCols>(row, piece));
      const int tile_row = place.warp / 4 * 32 + row;
      if (tile_row >= rows.first && tile_row < rows.end) {
        *reinterpret_cast<uint4*>(to + tile_row * stride + place.warp % 4 * kCols + piece * 8) =
            value;
      }
    }
  }

 private:
  /// out += a · rows [16 step, 16 step + 16) of b, stored [k][kDim].
  __device__ __forceinline__ void multiply(const std::uint32_t (&a)[2][4], const __nv_bfloat16* b,
                                           int step, const Place<kDim>& place) {
#pragma unroll
    for (int n = 0; n < kCols / 16; ++n) {
      std::uint32_t part[4];
      ldmatrix_x4_transposed(
          part, b + swizzled_at<kDim>(place.plain, step * 16, place.warp % 4 * kCols + n * 16));
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        mma_bf16(out[m][2 * n], a[m], part[0], part[1]);
        mma_bf16(out[m][2 * n + 1], a[m], part[2], part[3]);
      }
    }
  }
};

}  // namespace sala::cuda::lightning
