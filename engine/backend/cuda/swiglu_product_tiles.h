// Tiles of the gated product: their sizes, their order, where results lie before they are stored;
// plain functions.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/cuda/device/pieces.h"
#include "engine/backend/cuda/device/wgmma_operand.h"

namespace sala::cuda::swiglu {

constexpr int kTileRows = 128;   // of x, a CTA
constexpr int kTileCols = 128;   // of the results; as many rows of either weight
constexpr int kTileIn = 64;      // inputs a stage
constexpr int kClusterCtas = 2;  // with different rows and the same columns
constexpr int kWarpRows = 16;    // of a CTA's rows, a warp
constexpr int kRowsInGroup = 8;  // tiles of a cluster, whose rows of x stay in the L2 cache
constexpr int kClusterRows = kClusterCtas * kTileRows;

/// Clusters take tiles (of kClusterRows rows) in this order: down a group of rows, then the next
/// column. So those that run at the same time share weights, and rows of x are read again soon.
struct TileOrder {
  int n_rows;
  int n_cols;
  int rows_in_group = kRowsInGroup;

  SALA_HOST_DEVICE constexpr int n_tiles() const { return n_rows * n_cols; }
  SALA_HOST_DEVICE constexpr Element tile(int index) const {
    const int group = index / (rows_in_group * n_cols);
    const int first = group * rows_in_group;
    const int height = n_rows - first < rows_in_group ? n_rows - first : rows_in_group;
    const int within = index - first * n_cols;
    return {first + within % height, within / height};
  }
};

/// Element of a warp's results, panels of 16 rows, at which a lane points so that stmatrix x4
/// stores the A fragment of 16 columns from `col` on, a multiple of 16.
SALA_HOST_DEVICE constexpr int result_place(int lane, int col) {
  const Element from = a_address(lane);
  return col / kPanelCols * kWarpRows * kPanelCols +
         swizzled_at<kPanelCols>(swizzled<kPanelCols>(from.row, from.col), 0, col % kPanelCols);
}

}  // namespace sala::cuda::swiglu
