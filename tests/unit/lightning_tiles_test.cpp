// How linear attention on the GPU cuts a call: segments, tiles, decay steps and shared memory.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/lightning/cuda/tiles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

#include "engine/attention/lightning/lightning.h"

namespace sala::cuda {
namespace {

using namespace lightning;

TEST(LightningTiles, segments_and_tiles_cover_a_call_once) {
  for (const std::int64_t start : {0, 1, 63, 64, 2047, 2048, 5000}) {
    for (const std::int64_t n : {1, 2, 63, 64, 65, 2047, 2048, 2049, 8192, 10001}) {
      const TokenRange call{start, start + n};
      std::int64_t next = start;
      for (std::int64_t s = 0; s < n_segments(call); ++s) {
        const TokenRange range = segment(call, s);
        ASSERT_EQ(range.first, next);
        ASSERT_LT(range.first, range.end);
        ASSERT_TRUE(range.first % kSegment == 0 || s == 0);
        for (int i = 0; i < n_tiles(range); ++i) {
          const std::int64_t tile = first_tile(range) + i;
          const ValidRows rows = tile_rows(range, tile);
          ASSERT_EQ(tile * kTile + rows.first, next);
          ASSERT_LT(rows.first, rows.end);
          ASSERT_LE(rows.end, kTile);
          next = tile * kTile + rows.end;
        }
      }
      ASSERT_EQ(next, call.end);
    }
  }
}

TEST(LightningTiles, what_a_segment_forgets_is_nothing_in_fp32) {
  const TokenRange range{2048, 4096};
  for (const double slope : lightning_slopes(32)) {
    const auto slope_log2 = static_cast<float>(slope * std::numbers::log2e);
    const TokenRange kept = remembered(range, slope_log2);
    EXPECT_EQ(kept.end, range.end);
    EXPECT_TRUE(kept == range || kept.first % kTile == 0);
    if (kept == range) continue;
    // The newest token left out, and one tile more would have been enough.
    const auto distance = static_cast<double>(range.end - kept.first);
    EXPECT_GE(distance * static_cast<double>(slope_log2), 126);
    EXPECT_LE((distance - kTile - 1) * static_cast<double>(slope_log2), 126);
  }
  EXPECT_EQ(remembered(range, 0.005F), range);
  EXPECT_EQ(remembered({2048, 2049}, 300.0F), (TokenRange{2048, 2049}));
}

TEST(LightningTiles, decay_never_runs_backwards) {
  for (const ValidRows rows : {ValidRows{0, 64}, {5, 64}, {0, 7}, {63, 64}, {10, 11}}) {
    for (int row = 0; row < kTile; ++row) {
      ASSERT_GE(steps_to_row(rows, row), 0);
      ASSERT_GE(steps_to_end(rows, row), 0);
    }
    EXPECT_EQ(steps_to_row(rows, rows.first), 1) << "the first row fades the state once";
    EXPECT_EQ(steps_to_end(rows, rows.end - 1), 0) << "the last key is not faded";
    EXPECT_EQ(steps_to_row(rows, rows.first) + steps_to_end(rows, rows.first),
              rows.end - rows.first);
  }
}

/// The bank of every 4-byte word that a warp writes or reads.
template <typename Offset>
int most_in_one_bank(const Offset& offset) {
  int count[32] = {};
  for (int lane = 0; lane < 32; ++lane) ++count[offset(lane) / 2 % 32];
  return *std::max_element(count, count + 32);
}

template <int kCols>
void expect_patch_is_free_of_conflicts() {
  std::set<int> places;
  for (int row = 0; row < 32; ++row) {
    for (int piece = 0; piece < kCols / 8; ++piece) {
      const int offset = patch_offset<kCols>(row, piece);
      EXPECT_EQ(offset % 8, 0);
      EXPECT_LT(offset, 32 * kCols);
      EXPECT_TRUE(places.insert(offset).second);
    }
  }
  for (int row = 0; row < 32; row += 8) {
    for (int piece = 0; piece < kCols / 8; ++piece) {
      EXPECT_EQ(most_in_one_bank([&](int lane) {
                  const Element at = c_fragment(lane, 0);
                  return patch_offset<kCols>(row + at.row, piece) + at.col;
                }),
                1);
    }
  }
}

TEST(LightningTiles, patches_of_outputs_have_no_bank_conflicts) {
  expect_patch_is_free_of_conflicts<16>();
  expect_patch_is_free_of_conflicts<32>();
}

template <int kCols>
void expect_steps_by_exclusive_or() {
  for (int row = 0; row < 8; ++row) {
    for (int col = 0; col < 16; ++col) {
      for (int first_row = 0; first_row < 64; first_row += 8) {
        for (int first_col = 0; first_col < kCols; first_col += 8) {
          if ((first_col & col) != 0) continue;
          EXPECT_EQ(swizzled_at<kCols>(swizzled<kCols>(row, col), first_row, first_col),
                    swizzled<kCols>(first_row + row, first_col + col));
        }
      }
    }
  }
}

TEST(Pieces, a_step_along_a_swizzled_tile_is_one_exclusive_or) {
  expect_steps_by_exclusive_or<64>();
  expect_steps_by_exclusive_or<128>();
}

TEST(Pieces, transposed_loads_give_the_a_fragment_of_the_transpose) {
  // Matrix i of an ldmatrix x4 is addressed by lanes 8 i ... 8 i + 7; transposed, a lane gets the
  // elements at rows 2 (lane % 4) and the next, column lane / 4 of it.
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const Element corner = a_address_transposed(i * 8);
      EXPECT_EQ(a_address_transposed(i * 8 + 3), (Element{corner.row + 3, corner.col}));
      const Element got{corner.col + lane / 4, corner.row + lane % 4 * 2};
      EXPECT_EQ(got, a_fragment(lane, i));
    }
  }
}

}  // namespace
}  // namespace sala::cuda
