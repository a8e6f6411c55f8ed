// Asynchronous copy of rows from global memory into a swizzled tile, with rows left out as zeros.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "engine/backend/cuda/device/cp_async.cuh"
#include "engine/backend/cuda/device/pieces.h"

namespace sala::cuda {

/// kThreads threads, numbered by `thread`, start copying a (kRows, kCols) tile. row_0 is where its
/// row 0 would lie, whether or not it is valid; rows are `stride` elements apart. At least one row
/// is valid.
template <int kCols, int kRows, int kThreads>
__device__ __forceinline__ void load_rows(__nv_bfloat16* tile, const __nv_bfloat16* row_0,
                                          std::int64_t stride, ValidRows valid, int thread) {
  constexpr int kPieces = kCols / 8;
  constexpr int kRowsPerPass = kThreads / kPieces;
  static_assert(kThreads % kPieces == 0 && kRows % kRowsPerPass == 0, "whole rows, whole passes");
  const int first_row = thread / kPieces;
  const int col = thread % kPieces * 8;
  const int part = swizzled<kCols>(first_row, col);
  const __nv_bfloat16* from = row_0 + first_row * stride + col;
  const __nv_bfloat16* inside = row_0 + valid.first * stride;
#pragma unroll
  for (int pass = 0; pass < kRows / kRowsPerPass; ++pass) {
    const int row = pass * kRowsPerPass + first_row;
    const bool is_valid = row >= valid.first && row < valid.end;
    const int to = kRowsPerPass % 8 == 0 ? swizzled_at<kCols>(part, pass * kRowsPerPass, 0)
                                         : swizzled<kCols>(row, col);
    cp_async_16(tile + to, is_valid ? from : inside, is_valid);
    from += kRowsPerPass * stride;
  }
}

}  // namespace sala::cuda
