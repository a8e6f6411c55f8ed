// Sizes, tiles, lists and slices of block-sparse attention on a GPU, testable on the CPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/backend/cuda/device/fragment.h"

namespace sala::cuda::infllm_v2 {

constexpr int kStride = 16;  // tokens between windows of k1
constexpr int kBlock = 64;
/// Query heads of a KV head at most: one side of a tensor-core tile; fewer leave part of it empty.
constexpr int kRows = 16;
constexpr int kScoreTile = 16;               // tokens scored together
constexpr int kListEntries = 640;            // most blocks that one row selects
constexpr std::int64_t kMostBlocks = 32768;  // of the longest row: 2M tokens
constexpr std::int64_t kNever = INT64_MAX;   // ranked_begin where no row is ranked
constexpr float kLowest = -1e30F;            // where maxima start: finite, so that differences are

SALA_HOST_DEVICE constexpr std::int64_t ceil_div(std::int64_t n, std::int64_t size) {
  return (n + size - 1) / size;
}

/// Sizes of a layer.
struct Shape {
  std::int64_t n_kv_heads = 0;
  std::int64_t group = 0;     // query heads of a KV head, at most kRows
  std::int64_t head_dim = 0;  // 64 or 128
  float scale = 1.0F;
  std::int64_t init_blocks = 0;
  std::int64_t local_blocks = 0;
  std::int64_t topk = 0;

  SALA_HOST_DEVICE constexpr std::int64_t q_dim() const { return n_kv_heads * group * head_dim; }
  SALA_HOST_DEVICE constexpr std::int64_t kv_dim() const { return n_kv_heads * head_dim; }
  SALA_HOST_DEVICE constexpr std::int64_t n_selected() const { return topk + local_blocks; }
  SALA_HOST_DEVICE constexpr std::int64_t slots() const { return topk - init_blocks - 1; }
  /// Blocks [init_blocks, candidates_end) are ranked for a row in block `off`.
  SALA_HOST_DEVICE constexpr std::int64_t candidates_end(std::int64_t off) const {
    return off - local_blocks;
  }
};

/// Complete windows of 2 * step tokens, one every `step`, among the first `length` tokens: k1 with
/// step kStride, k2 with kBlock.
SALA_HOST_DEVICE constexpr std::int64_t n_windows(std::int64_t length, std::int64_t step) {
  return length < 2 * step ? 0 : length / step - 1;
}

/// Scores written for a row with that many candidates: whole 16-byte pieces, zeros at the end.
SALA_HOST_DEVICE constexpr std::int64_t padded_scores(std::int64_t candidates_end) {
  return ceil_div(candidates_end, 8) * 8;
}

/// 32-bit words of a row's mask of blocks 0 ... off.
SALA_HOST_DEVICE constexpr std::int64_t mask_words(std::int64_t off) {
  return off / 32 + 1;
}

/// Bits of mask word `word` for the blocks [begin, end).
SALA_HOST_DEVICE constexpr std::uint32_t bits_between(std::int64_t word, std::int64_t begin,
                                                      std::int64_t end) {
  const std::int64_t low = begin - word * 32 < 0 ? 0 : begin - word * 32;
  const std::int64_t high = end - word * 32 > 32 ? 32 : end - word * 32;
  if (low >= high) return 0;
  return (0xffffffffU >> (32 - (high - low))) << low;
}

/// The n lowest set bits.
SALA_HOST_DEVICE constexpr std::uint32_t lowest_bits(std::uint32_t bits, int n) {
  std::uint32_t rest = bits;
  for (; n > 0 && rest != 0; --n) rest &= rest - 1;
  return bits & ~rest;
}

/// A block and, in the upper half, which rows of the tile attend to it.
SALA_HOST_DEVICE constexpr std::uint32_t list_entry(std::uint32_t block, std::uint32_t members) {
  return block | members << 16;
}
SALA_HOST_DEVICE constexpr std::uint32_t entry_block(std::uint32_t entry) {
  return entry & 0xffffU;
}
SALA_HOST_DEVICE constexpr std::uint32_t entry_members(std::uint32_t entry) {
  return entry >> 16;
}

/// Stages that keep blocks of keys and values in flight, in a CTA with so much shared memory.
constexpr std::int64_t kMostStages = 8;
constexpr std::int64_t kRingBytes = 1024;  // for the ring: stages begin at a multiple of that
SALA_HOST_DEVICE constexpr std::int64_t stage_bytes(std::int64_t head_dim) {
  return 2 * kBlock * head_dim * 2;
}
SALA_HOST_DEVICE constexpr std::int64_t n_stages(std::int64_t shared_bytes, std::int64_t head_dim) {
  const std::int64_t fitting = (shared_bytes - kRingBytes) / stage_bytes(head_dim);
  return fitting < kMostStages ? fitting : kMostStages;
}

/// Whether keys and values of `length` tokens and one KV head exceed the L2 by so much that it
/// helps to start tiles in waves, one a processor. All walk down the blocks from the last one:
/// those that start together find in the L2 what one of them has read, others do not.
constexpr bool is_far(std::int64_t length, std::int64_t head_dim, std::int64_t l2_bytes) {
  constexpr std::int64_t kCaches = 4;
  return length / kBlock * stage_bytes(head_dim) > kCaches * l2_bytes;
}

/// How the list of a row is cut so that several CTAs can work on it: depends on its length alone.
struct Slices {
  std::int64_t size;  // entries of a slice
  std::int64_t count;
};
constexpr std::int64_t kMostSlices = 64;
SALA_HOST_DEVICE constexpr Slices slices(std::int64_t n_entries) {
  constexpr std::int64_t kLeast = 4;
  const std::int64_t even = ceil_div(n_entries, kMostSlices);
  const std::int64_t size = even < kLeast ? kLeast : even;
  return {size, ceil_div(n_entries, size)};
}

// One token's scores are made in tiles of 64 windows of k1; the first four only lend the first
// block its left neighbour.
constexpr int kStepBlocks = 15;
SALA_HOST_DEVICE constexpr std::int64_t step_first_window(std::int64_t tile) {
  return tile * kStepBlocks * 4 - 4;
}
constexpr std::int64_t kStepKeys = 256;  // windows whose exponentials one CTA adds up

/// Where an element of a fragment lies when lanes load 16 bytes of a row straight from memory: a
/// product may permute its inner dimension if both sides do it alike. Column of the first of two
/// neighbours in register `half` (0: inner 0-7, 1: inner 8-15) of the 16-wide step `step`.
SALA_HOST_DEVICE constexpr int direct_column(int lane, int step, int half) {
  return step / 2 * 32 + lane % 4 * 8 + step % 2 * 4 + half * 2;
}

}  // namespace sala::cuda::infllm_v2
