// How linear attention on the GPU cuts a call into segments and tiles; plain functions, tested on
// the CPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/backend/cuda/device/pieces.h"

namespace sala::cuda::lightning {

/// Tokens of a tile and of a segment. Both start at multiples counted from token 0, so that the
/// way a prompt is cut into calls changes no tile but those at the cuts.
constexpr int kTile = 64;
constexpr std::int64_t kSegment = 2048;

/// Tokens [first, end).
struct TokenRange {
  std::int64_t first;
  std::int64_t end;
  constexpr bool operator==(const TokenRange&) const = default;
};

SALA_HOST_DEVICE constexpr std::int64_t n_segments(TokenRange call) {
  return (call.end - 1) / kSegment - call.first / kSegment + 1;
}

/// Segment number `index` of a call; only the first and the last may be shorter than the others.
SALA_HOST_DEVICE constexpr TokenRange segment(TokenRange call, std::int64_t index) {
  const std::int64_t base = (call.first / kSegment + index) * kSegment;
  return {base > call.first ? base : call.first,
          base + kSegment < call.end ? base + kSegment : call.end};
}

SALA_HOST_DEVICE constexpr std::int64_t first_tile(TokenRange range) {
  return range.first / kTile;
}
/// Of a range within a segment.
SALA_HOST_DEVICE constexpr int n_tiles(TokenRange range) {
  return static_cast<int>((range.end - 1) / kTile - first_tile(range) + 1);
}

/// The part of a segment that its own final state depends on: older tokens have weights below
/// 2^-126, which fp32 rounds to nothing. Starts at a tile or at the segment.
SALA_HOST_DEVICE constexpr TokenRange remembered(TokenRange range, float slope_log2) {
  constexpr float kLeastExponent = 126.0F;
  const auto length = static_cast<float>(range.end - range.first);
  if (slope_log2 * length <= kLeastExponent) return range;
  const auto window = static_cast<std::int64_t>(kLeastExponent / slope_log2) + 1;
  const std::int64_t tile = (range.end - window) / kTile * kTile;
  return {tile > range.first ? tile : range.first, range.end};
}

/// Rows of a tile that belong to the range; the others are loaded as zeros.
SALA_HOST_DEVICE constexpr ValidRows tile_rows(TokenRange range, std::int64_t tile) {
  const std::int64_t base = tile * kTile;
  return {range.first > base ? static_cast<int>(range.first - base) : 0,
          range.end < base + kTile ? static_cast<int>(range.end - base) : kTile};
}

// Numbers of decay steps; never negative, for a decay taken backwards would overflow.

/// Between the state before the tile and the output of `row`.
SALA_HOST_DEVICE constexpr int steps_to_row(ValidRows rows, int row) {
  return row >= rows.first ? row - rows.first + 1 : 0;
}
/// Between the key of `row` and the state after the tile.
SALA_HOST_DEVICE constexpr int steps_to_end(ValidRows rows, int row) {
  return row < rows.end ? rows.end - 1 - row : 0;
}

/// Where piece `piece` (8 columns) of row `row` lies, in elements, in a warp's patch of outputs of
/// 32 rows by kCols = 16 or 32 columns: eight rows of four words each fall into different banks.
template <int kCols>
SALA_HOST_DEVICE constexpr int patch_offset(int row, int piece) {
  static_assert(kCols == 16 || kCols == 32, "two or four pieces a row");
  constexpr int kRowsPerLine = 64 / kCols;  // rows in 128 bytes
  return row * kCols + (piece ^ row / kRowsPerLine % (kCols / 8)) * 8;
}

}  // namespace sala::cuda::lightning
