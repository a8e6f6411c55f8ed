// Loads of query fragments and of tiles of keys or values.
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
