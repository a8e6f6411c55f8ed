// Parts of attention over blocks: lists made of masks, tiles of keys and values, running softmax.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/attention/infllm_v2/cuda/attend.h"
#include "engine/attention/infllm_v2/cuda/key_tile.cuh"
#include "engine/backend/cuda/device/warp.cuh"

namespace sala::cuda::infllm_v2 {

constexpr int kStages = 3;  // blocks of keys and values in flight

template <int kDim>
constexpr int kBlockElements = kBlock * kDim;

/// Shared memory of a CTA.
template <int kDim>
struct AttendMemory {
  __nv_bfloat16 stages[kStages][2][kBlockElements<kDim>];  // keys, values
  std::uint32_t list[kListEntries];
};
static_assert(sizeof(AttendMemory<128>) <= 99 * 1024 - 256,
              "fits GPUs with 99 KB a CTA, with what make_list() needs");

/// Mask of blocks 32 * word on that the row at t, in block off, reads.
__device__ __forceinline__ std::uint32_t row_mask(const AttendParams& p, std::int64_t head,
                                                  std::int64_t t, std::int64_t row,
                                                  std::int64_t off, std::int64_t word) {
  if (t < p.ranked_begin) return bits_between(word, 0, off + 1);
  return p.masks[(row * p.shape.n_kv_heads + head) * p.mask_stride + word];
}

/// Writes the blocks that any of kMembers masks has, ascending, with the members that have them,
/// and returns their number; entries beyond kListEntries are counted but not written.
/// mask(member, word) is read for the words of blocks 0 ... off. Ends with a barrier.
template <int kMembers, int kThreads, typename Mask>
__device__ __forceinline__ int make_list(std::uint32_t* list, std::int64_t off, const Mask& mask) {
  __shared__ int warps[2][kThreads / 32];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const auto n_words = static_cast<int>(mask_words(off));
  int n = 0;
  for (int first = 0, round = 0; first < n_words; first += kThreads, round ^= 1) {
    const int word = first + static_cast<int>(threadIdx.x);
    std::uint32_t members[kMembers];
    std::uint32_t any = 0;
#pragma unroll
    for (int i = 0; i < kMembers; ++i) {
      members[i] = word < n_words ? mask(i, word) : 0U;
      any |= members[i];
    }
    const int mine = __popc(any);
    int inclusive = mine;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const int before = __shfl_up_sync(kWarp, inclusive, step);
      if (lane >= step) inclusive += before;
    }
    if (lane == 31) warps[round][warp] = inclusive;
    __syncthreads();  // two rounds use two arrays: one barrier a round is enough
    int at = n + inclusive - mine;
#pragma unroll
    for (int i = 0; i < kThreads / 32; ++i) {
      if (i < warp) at += warps[round][i];
      n += warps[round][i];
    }
    for (; any != 0; any &= any - 1, ++at) {
      const int bit = __ffs(static_cast<int>(any)) - 1;
      std::uint32_t have = 0;
#pragma unroll
      for (int i = 0; i < kMembers; ++i) have |= (members[i] >> bit & 1U) << i;
      if (at < kListEntries) {
        list[at] = list_entry(static_cast<std::uint32_t>(word * 32 + bit), have);
      }
    }
  }
  __syncthreads();
  return n;
}

/// Runs step(keys, values, entry) for entries [begin, end) of a list, whose blocks are copied into
/// shared memory ahead of it. entry(i): the i-th; n_tokens: rows of the cache that exist.
template <int kDim, int kThreads, typename Entry, typename Step>
__device__ __forceinline__ void for_blocks(AttendMemory<kDim>& memory, const AttendParams& p,
                                           std::int64_t head, std::int64_t n_tokens, int begin,
                                           int end, const Entry& entry, const Step& step) {
  const std::int64_t base = head * p.cache.capacity * kDim;
  const auto load = [&](int i) {
    if (i < end) {
      auto& [keys, values] = memory.stages[(i - begin) % kStages];
      const auto first = static_cast<int>(entry_block(entry(i))) * kBlock;
      load_tile<kDim, kBlock, kThreads>(keys, p.cache.k + base, first, static_cast<int>(n_tokens));
      load_tile<kDim, kBlock, kThreads>(values, p.cache.v + base, first,
                                        static_cast<int>(n_tokens));
    }
    cp_async_commit();
  };
  for (int i = begin; i < begin + kStages - 1; ++i) load(i);
  for (int i = begin; i < end; ++i) {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    load(i + kStages - 1);  // into the stage that everyone left before the barrier
    const auto& [keys, values] = memory.stages[(i - begin) % kStages];
    step(keys, values, entry(i));
  }
}

/// Running softmax of a warp's 16 rows: a lane holds two of them, kDim / 8 pairs of columns each.
template <int kDim>
struct Softmax {
  float max[2] = {kLowest, kLowest};
  float sum[2] = {0.0F, 0.0F};  // of this lane's columns
  float out[kDim / 8][4] = {};

  /// Adds keys [first, first + kKeys) of a tile. Keys from n_visible on are hidden. factor: of
  /// scores, log2(e) included.
  template <int kKeys>
  __device__ __forceinline__ void add(const std::uint32_t (&q)[kDim / 16][4],
                                      const __nv_bfloat16* keys, const __nv_bfloat16* values,
                                      int first, int n_visible, float factor) {
    float scores[kKeys / 8][4];
    multiply(q, keys, first, scores);
    if (first + kKeys > n_visible) hide(first, n_visible, scores);
    rescale(scores, factor);
    const Element from = b_address_transposed(static_cast<int>(threadIdx.x) % 32);
    const std::uint32_t lane_values =
        shared_address(values + swizzled<kDim>(first + from.row, from.col));
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
      const std::uint32_t a[4] = {pack_bf16(scores[2 * k][0], scores[2 * k][1]),
                                  pack_bf16(scores[2 * k][2], scores[2 * k][3]),
                                  pack_bf16(scores[2 * k + 1][0], scores[2 * k + 1][1]),
                                  pack_bf16(scores[2 * k + 1][2], scores[2 * k + 1][3])};
#pragma unroll
      for (int column = 0; column < kDim / 8; column += 2) {
        std::uint32_t b[4];
        ldmatrix_x4_transposed(b, (lane_values ^ (column * 16)) + k * 16 * kDim * 2);
        mma_bf16(out[column], a, b[0], b[1]);
        mma_bf16(out[column + 1], a, b[2], b[3]);
      }
    }
  }

  /// Sums over the lanes that share a row.
  __device__ __forceinline__ void finish() {
    sum[0] = warp_sum<4>(sum[0]);
    sum[1] = warp_sum<4>(sum[1]);
  }

 private:
  template <int kColumns>
  static __device__ __forceinline__ void multiply(const std::uint32_t (&q)[kDim / 16][4],
                                                  const __nv_bfloat16* keys, int first,
                                                  float (&scores)[kColumns][4]) {
    const Element from = b_address(static_cast<int>(threadIdx.x) % 32);
    const std::uint32_t lane_keys =
        shared_address(keys + swizzled<kDim>(first + from.row, from.col));
#pragma unroll
    for (auto& column : scores) column[0] = column[1] = column[2] = column[3] = 0.0F;
#pragma unroll
    for (int k = 0; k < kDim / 16; ++k) {
#pragma unroll
      for (int column = 0; column < kColumns; column += 2) {
        std::uint32_t b[4];
        ldmatrix_x4(b, (lane_keys ^ (k * 32)) + column * 8 * kDim * 2);
        mma_bf16(scores[column], q[k], b[0], b[1]);
        mma_bf16(scores[column + 1], q[k], b[2], b[3]);
      }
    }
  }

  template <int kColumns>
  static __device__ __forceinline__ void hide(int first, int n_visible,
                                              float (&scores)[kColumns][4]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < 4 * kColumns; ++i) {
      const int key = first + i / 4 * 8 + c_fragment(lane, i % 4).col;
      if (key >= n_visible) scores[i / 4][i % 4] = -INFINITY;
    }
  }

  /// Turns scores into weights against the new maximum and brings sums and outputs up to it.
  template <int kColumns>
  __device__ __forceinline__ void rescale(float (&scores)[kColumns][4], float factor) {
    float fade[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = -INFINITY;
#pragma unroll
      for (const auto& column : scores) {
        largest = fmaxf(largest, fmaxf(column[half * 2], column[half * 2 + 1]));
      }
      const float old = max[half];
      max[half] = fmaxf(old, warp_max<4>(largest) * factor);
      fade[half] = fast_exp2(old - max[half]);
      float added = 0.0F;
#pragma unroll
      for (auto& column : scores) {
#pragma unroll
        for (int i = half * 2; i < half * 2 + 2; ++i) {
          column[i] = fast_exp2(fmaf(column[i], factor, -max[half]));
          added += column[i];
        }
      }
      sum[half] = sum[half] * fade[half] + added;
    }
    // Maxima settle after a few blocks.
    if (!__any_sync(kWarp, fade[0] != 1.0F || fade[1] != 1.0F)) return;
#pragma unroll
    for (auto& column : out) {
#pragma unroll
      for (int i = 0; i < 4; ++i) column[i] *= fade[i / 2];
    }
  }
};

}  // namespace sala::cuda::infllm_v2
