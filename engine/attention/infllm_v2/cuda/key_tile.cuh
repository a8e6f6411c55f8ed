// Query fragments, tiles of keys or values, and products of the two.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/attention/infllm_v2/cuda/layout.h"
#include "engine/backend/cuda/device/cp_async.cuh"
#include "engine/backend/cuda/device/ldmatrix.cuh"
#include "engine/backend/cuda/device/mma.cuh"
#include "engine/backend/cuda/device/wgmma_operand.h"

namespace sala::cuda::infllm_v2 {

/// A fragments of a warp's rows, one query head each, n_rows of them; the rest is zero. q: (n_rows,
/// kDim) in device memory.
template <int kDim>
__device__ __forceinline__ void load_query(std::uint32_t (&fragments)[kDim / 16][4],
                                           const __nv_bfloat16* q, int n_rows) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int k = 0; k < kDim / 16; ++k) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const Element at = a_fragment(lane, i);
      fragments[k][i] =
          at.row < n_rows
              ? *reinterpret_cast<const std::uint32_t*>(q + at.row * kDim + k * 16 + at.col)
              : 0U;
    }
  }
}

/// Query rows of a warp's tokens, in registers.
template <int kDim, int kTokens>
struct HeldQueries {
  std::uint32_t fragments[kTokens][kDim / 16][4];

  __device__ __forceinline__ void read(int token, int k, std::uint32_t (&a)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i] = fragments[token][k][i];
  }
};

/// Products of keys [first, first + 8 * kColumns) of a tile of kTileRows with the 16 rows of each
/// of kTokens tokens. queries.read(n, k, a): the A fragment of token n for step k.
template <int kDim, int kTileRows, int kTokens, int kColumns, typename Queries>
__device__ __forceinline__ void multiply(const Queries& queries, const __nv_bfloat16* keys,
                                         int first, float (&scores)[kTokens][kColumns][4]) {
  const Element from = b_address(static_cast<int>(threadIdx.x) % 32);
  const std::uint32_t lane_keys =
      shared_address(keys + panel_element<kTileRows>(first + from.row, from.col));
#pragma unroll
  for (auto& token : scores) {
#pragma unroll
    for (auto& column : token) column[0] = column[1] = column[2] = column[3] = 0.0F;
  }
#pragma unroll
  for (int k = 0; k < kDim / 16; ++k) {
    std::uint32_t a[kTokens][4];
#pragma unroll
    for (int n = 0; n < kTokens; ++n) queries.read(n, k, a[n]);
#pragma unroll
    for (int column = 0; column < kColumns; column += 2) {
      std::uint32_t b[4];
      ldmatrix_x4(b, panel_further<kTileRows>(lane_keys, k * 16) + column * 8 * kPanelCols * 2);
#pragma unroll
      for (int n = 0; n < kTokens; ++n) {
        mma_bf16(scores[n][column], a[n], b[0], b[1]);
        mma_bf16(scores[n][column + 1], a[n], b[2], b[3]);
      }
    }
  }
}

/// Starts copying rows [first, first + kTileRows) of `rows` (end, kDim) into panels; rows from
/// `end` on become zero. kThreads neighbouring threads take part.
template <int kDim, int kTileRows, int kThreads>
__device__ __forceinline__ void load_tile(__nv_bfloat16* tile, const __nv_bfloat16* rows, int first,
                                          int end) {
  constexpr int kPieces = kDim / 8;
  constexpr int kPass = kThreads / kPieces;     // rows copied at a time
  constexpr int kStep = kPass < 8 ? 8 : kPass;  // rows after which a swizzled column returns
  static_assert(kTileRows % kStep == 0 && kStep % kPass == 0 && kStep % 8 == 0);
  const int row = static_cast<int>(threadIdx.x) % kThreads / kPieces;
  const int column = static_cast<int>(threadIdx.x) % kPieces * 8;
  const __nv_bfloat16* from = rows + static_cast<std::int64_t>(first + row) * kDim + column;
#pragma unroll
  for (int pass = 0; pass < kStep; pass += kPass) {
    __nv_bfloat16* to = tile + panel_element<kTileRows>(row + pass, column);
#pragma unroll
    for (int i = 0; i < kTileRows; i += kStep) {
      cp_async_16(to + i * kPanelCols, from + (pass + i) * kDim, first + row + pass + i < end);
    }
  }
}

}  // namespace sala::cuda::infllm_v2
