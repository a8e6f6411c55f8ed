// Order of the gated product's tiles and the place of results before they are stored.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/swiglu_product_tiles.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>

namespace sala::cuda::swiglu {
namespace {

TEST(SwigluTileOrder, visits_every_tile_once) {
  for (const int n_rows : {1, 7, 8, 9, 16, 63}) {
    for (const int n_cols : {1, 3, 128}) {
      const TileOrder order{n_rows, n_cols};
      std::set<std::pair<int, int>> seen;
      for (int i = 0; i < order.n_tiles(); ++i) {
        const Element tile = order.tile(i);
        ASSERT_TRUE(tile.row >= 0 && tile.row < n_rows && tile.col >= 0 && tile.col < n_cols);
        ASSERT_TRUE(seen.emplace(tile.row, tile.col).second) << tile.row << " " << tile.col;
      }
      EXPECT_EQ(static_cast<int>(seen.size()), n_rows * n_cols);
    }
  }
}

TEST(SwigluTileOrder, runs_down_a_group_of_rows_before_the_next_column) {
  const TileOrder order{kRowsInGroup + 2, 5};
  EXPECT_EQ(order.tile(0), (Element{0, 0}));
  EXPECT_EQ(order.tile(kRowsInGroup - 1), (Element{kRowsInGroup - 1, 0}));
  EXPECT_EQ(order.tile(kRowsInGroup), (Element{0, 1}));
  EXPECT_EQ(order.tile(5 * kRowsInGroup), (Element{kRowsInGroup, 0}));
  EXPECT_EQ(order.tile(5 * kRowsInGroup + 2), (Element{kRowsInGroup, 1}));
}

TEST(SwigluResults, lie_in_panels_as_the_copy_engine_reads_them) {
  for (int col = 0; col < kTileCols; col += 16) {
    for (int lane = 0; lane < 32; ++lane) {
      const Element piece = a_address(lane);
      const int place = result_place(lane, col);
      EXPECT_EQ(place, panel_element<kWarpRows>(piece.row, col + piece.col));
      // The engine reads column c of row r of a panel at byte 128r + 2c, bits 7-9 moved onto 4-6.
      const int plain = piece.row * 128 + (col + piece.col) % kPanelCols * 2;
      const int panel = (col + piece.col) / kPanelCols * kWarpRows * kPanelCols * 2;
      EXPECT_EQ(place * 2, panel + (plain ^ (plain >> 7 & 7) << 4));
    }
  }
}

TEST(SwigluResults, fall_into_different_banks) {
  for (int col = 0; col < kTileCols; col += 16) {
    for (int matrix = 0; matrix < 32; matrix += 8) {
      std::set<int> banks;
      for (int row = 0; row < 8; ++row) banks.insert(result_place(matrix + row, col) * 2 % 128);
      EXPECT_EQ(banks.size(), 8U);
    }
  }
}

}  // namespace
}  // namespace sala::cuda::swiglu
