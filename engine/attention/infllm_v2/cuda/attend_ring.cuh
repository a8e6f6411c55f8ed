// Attention of a tile of tokens to blocks that others copy: what the bodies have in common.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/attention/infllm_v2/cuda/attend_tile.cuh"
#include "engine/backend/cuda/device/mbarrier.cuh"
#include "engine/backend/cuda/device/ring_place.h"

namespace sala::cuda::infllm_v2 {

template <int kDim>
constexpr int kBlockElements = kBlock * kDim;

/// The tokens of a CTA: [first, first + kAttendTile) as far as they exist, all in block `off`.
struct Tile {
  std::int64_t head;
  std::int64_t first;
  std::int64_t end;  // of the call
  int off;

  /// index: of the tiles of a call, those of the first KV head before those of the next.
  __device__ Tile(const AttendParams& p, std::int64_t index)
      : head(index / attend_tiles(p.start, p.n_tokens)),
        first((p.start / kAttendTile + index % attend_tiles(p.start, p.n_tokens)) * kAttendTile),
        end(p.start + p.n_tokens),
        off(static_cast<int>(first / kBlock)) {}
};

/// How those who copy blocks and those who read them meet: every block passes through the next of
/// the stages.
struct Ring {
  std::uint64_t keys_there[kMostStages];
  std::uint64_t values_there[kMostStages];
  std::uint64_t all_done[kMostStages];
  std::uint32_t entries[kMostStages];  // behind keys_there; without members: the end

  /// n_arrivals: of those who copy keys, or values.
  __device__ void init(int n_arrivals) {
    for (int i = 0; i < kMostStages; ++i) {
      mbarrier_init(&keys_there[i], n_arrivals);
      mbarrier_init(&values_there[i], n_arrivals);
      mbarrier_init(&all_done[i], 32 * kAttendTile);
    }
  }
};
static_assert(sizeof(Ring) <= kRingBytes);

/// Calls visit(block, members) for all blocks that any token of the tile reads, from the tile's own
/// downwards, since near keys tend to hold the maximum. All lanes of a warp get the same.
template <typename Visit>
__device__ __forceinline__ void for_blocks(const AttendParams& p, const Tile& tile,
                                           const Visit& visit) {
  constexpr int kWords = 32 / kAttendTile;  // that the lanes hold at a time, lower ones later
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t t = tile.first + lane % kAttendTile;
  const bool present = t >= p.start && t < tile.end;
  const auto mask_at = [&](int word) {
    return present && word >= 0 ? row_mask(p, tile.head, t, t - p.start, tile.off, word) : 0U;
  };
  const int behind = lane / kAttendTile;
  const int last = tile.off / 32;
  std::uint32_t next = mask_at(last - behind);
  for (int first = last; first >= 0; first -= kWords) {
    const std::uint32_t mask = next;
    next = mask_at(first - kWords - behind);  // read while the blocks before it are copied
    for (int i = 0; i < kWords; ++i) {
      std::uint32_t blocks = __reduce_or_sync(kWarp, behind == i ? mask : 0U);
      while (blocks != 0) {
        const int bit = 31 - __clz(static_cast<int>(blocks));
        blocks ^= 1U << bit;
        const std::uint32_t readers = __ballot_sync(kWarp, (mask >> bit & 1U) != 0);
        visit((first - i) * 32 + bit, readers >> (i * kAttendTile) & ((1U << kAttendTile) - 1));
      }
    }
  }
}

/// What the warp of a token does. It waits for the keys and values of every block, so that it never
/// falls out of step with the parities, and passes over those that its token does not read.
template <int kDim>
__device__ __forceinline__ void attend(Ring& ring, const __nv_bfloat16* stages, int n_stages,
                                       const AttendParams& p, const Tile& tile, int warp) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t t = tile.first + warp;
  const bool present = t >= p.start && t < tile.end;
  const std::int64_t offset =
      (present ? t - p.start : 0) * p.shape.q_dim() + tile.head * p.shape.group * kDim;
  const int n_rows = present ? static_cast<int>(p.shape.group) : 0;
  std::uint32_t q[kDim / 16][4];
  load_query<kDim>(q, p.q + offset, n_rows);

  Softmax<kDim> softmax;
  const float factor = p.shape.scale * kLog2e;
  for (RingPlace at;; at.advance(n_stages)) {
    mbarrier_wait(&ring.keys_there[at.stage], at.parity);
    const std::uint32_t entry = ring.entries[at.stage];
    if (entry_members(entry) == 0) break;
    if ((entry_members(entry) >> warp & 1U) == 0) {
      mbarrier_wait(&ring.values_there[at.stage], at.parity);
    } else {
      const __nv_bfloat16* keys = stages + at.stage * 2 * kBlockElements<kDim>;
      const bool own = static_cast<int>(entry_block(entry)) == tile.off;
      const int n_visible = own ? static_cast<int>(t % kBlock) + 1 : kBlock;
      float weights[kBlock / 8][4];
      softmax.weigh(q, keys, 0, n_visible, factor, weights);
      mbarrier_wait(&ring.values_there[at.stage], at.parity);
      softmax.add(weights, keys + kBlockElements<kDim>, 0);
    }
    // Each lane: racecheck does not follow one that arrives for its warp, and it costs nothing.
    mbarrier_arrive(&ring.all_done[at.stage]);
  }

  softmax.finish();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = c_fragment(lane, half * 2).row;
    if (row >= n_rows) continue;
    const float share = 1.0F / softmax.sum[half];
#pragma unroll
    for (int column = 0; column < kDim / 8; ++column) {
      const float* pair = softmax.out[column] + half * 2;
      *reinterpret_cast<std::uint32_t*>(p.out + offset + row * kDim + column * 8 +
                                        c_fragment(lane, 0).col) =
          pack_bf16(pair[0] * share, pair[1] * share);
    }
  }
}

/// Starts a body on all tiles of a call: launch(CTAs, first tile, stages, bytes of dynamic shared
/// memory). Behind far keys in waves, one tile a processor.
template <int kDim, typename Kernel, typename Launch>
cudaError_t launch_tiles(const AttendParams& p, Kernel* kernel, const Launch& launch) {
  int device = 0;
  cudaError_t error = cudaGetDevice(&device);
  const auto attribute = [&](cudaDeviceAttr which) {
    int value = 0;
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(&value, which, device);
    return value;
  };
  const int shared_bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  const int l2_bytes = attribute(cudaDevAttrL2CacheSize);
  const int n_processors = attribute(cudaDevAttrMultiProcessorCount);
  if (error != cudaSuccess) return error;
  const auto stages = static_cast<int>(n_stages(shared_bytes, kDim));
  const auto bytes = static_cast<int>(stages * stage_bytes(kDim));
  error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (error != cudaSuccess) return error;
  const std::int64_t n_tiles = attend_tiles(p.start, p.n_tokens) * p.shape.n_kv_heads;
  const bool in_waves = is_far(p.start + p.n_tokens, kDim, l2_bytes);
  const std::int64_t most = in_waves ? n_processors : n_tiles;
  for (std::int64_t first = 0; first < n_tiles; first += most) {
    const auto n = static_cast<unsigned>(n_tiles - first < most ? n_tiles - first : most);
    launch(n, first, stages, static_cast<std::size_t>(bytes));
  }
  return cudaGetLastError();
}

}  // namespace sala::cuda::infllm_v2
