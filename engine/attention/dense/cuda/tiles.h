// How dense attention on the GPU cuts queries and keys; plain functions, tested on the CPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/backend/cuda/device/pieces.h"

namespace sala::cuda::dense {

constexpr int kQueryTile = 128;  // rows of a block, at multiples counted from token 0
constexpr int kWarpRows = 32;    // of these, of one warp
constexpr int kKeyTile = 64;     // keys handled together, at multiples counted from token 0

/// Tokens that a cache has room for: a little more than asked, in whole tiles and few different
/// steps, since building cuDNN's plan for another capacity takes half a second.
SALA_HOST_DEVICE constexpr std::int64_t cache_capacity(std::int64_t max_tokens) {
  std::int64_t step = kKeyTile;
  while (step * 64 <= max_tokens) step *= 2;
  return (max_tokens + step - 1) / step * step;
}

/// Tokens [start, end) of a call.
struct Call {
  std::int64_t start;
  std::int64_t end;
};

SALA_HOST_DEVICE constexpr std::int64_t n_query_tiles(Call call) {
  return (call.end - 1) / kQueryTile - call.start / kQueryTile + 1;
}

/// Rows of the tile at `base` that hold tokens [first, end).
template <int kRows>
SALA_HOST_DEVICE constexpr ValidRows rows_within(std::int64_t base, std::int64_t first,
                                                 std::int64_t end) {
  return {first > base ? static_cast<int>(first - base) : 0,
          end < base + kRows ? static_cast<int>(end - base) : kRows};
}

/// Key tiles that the query tile at `base` reads.
SALA_HOST_DEVICE constexpr std::int64_t n_key_tiles(Call call, std::int64_t base) {
  const std::int64_t end = base + kQueryTile < call.end ? base + kQueryTile : call.end;
  return (end - 1) / kKeyTile + 1;
}

/// How one row's keys are cut so that several blocks can read them: `size` keys a slice, `count`
/// slices. Depends on the row's length and the number of KV heads alone.
struct Slices {
  std::int64_t size;
  std::int64_t count;
};
constexpr std::int64_t kLeastSlice = 256;

/// Slices of one KV head at any length: about four blocks an SM over all heads.
constexpr int kMostSlices = 512;
SALA_HOST_DEVICE constexpr std::int64_t most_slices(int n_kv_heads) {
  return n_kv_heads < kMostSlices ? kMostSlices / n_kv_heads : 1;
}
SALA_HOST_DEVICE constexpr std::int64_t most_slices(int n_kv_heads, std::int64_t max_length) {
  const std::int64_t at_length = (max_length + kLeastSlice - 1) / kLeastSlice;
  return at_length < most_slices(n_kv_heads) ? at_length : most_slices(n_kv_heads);
}
SALA_HOST_DEVICE constexpr Slices slices(std::int64_t length, int n_kv_heads) {
  const std::int64_t most = most_slices(n_kv_heads);
  const std::int64_t even = ((length + most - 1) / most + kKeyTile - 1) / kKeyTile * kKeyTile;
  const std::int64_t size = even < kLeastSlice ? kLeastSlice : even;
  return {size, (length + size - 1) / size};
}

}  // namespace sala::cuda::dense
