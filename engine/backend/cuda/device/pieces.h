// More index arithmetic of swizzled tiles: steps along a tile, and operands stored the other way.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/cuda/device/fragment.h"

namespace sala::cuda {

/// Rows [first, end) of a tile, those that a call or a cache really has.
struct ValidRows {
  int first;
  int end;
  constexpr bool operator==(const ValidRows&) const = default;
};

/// swizzled<kCols>(first_row + row, first_col + col) from part = swizzled<kCols>(row, col), for a
/// first_row that is a multiple of 8 and a first_col that is one of 8 and shares no bit with col.
/// One exclusive or instead of an address for every step of a loop.
template <int kCols>
SALA_HOST_DEVICE constexpr int swizzled_at(int part, int first_row, int first_col) {
  return first_row * kCols + (part ^ first_col);
}

/// What a lane points at so that a transposed ldmatrix x4 loads the A fragment of a (16, 16) piece
/// that is stored [k][m]; row is k.
SALA_HOST_DEVICE constexpr Element a_address_transposed(int lane) {
  return {lane % 8 + lane / 16 * 8, lane / 8 % 2 * 8};
}

}  // namespace sala::cuda
