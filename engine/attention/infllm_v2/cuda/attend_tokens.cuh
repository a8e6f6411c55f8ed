// Attention of a tile of tokens to blocks that others copy: what its bodies have in common.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/attention/infllm_v2/cuda/attend_tile.cuh"

namespace sala::cuda::infllm_v2 {

template <int kDim>
constexpr int kBlockElements = kBlock * kDim;

constexpr int kReaders = 8;  // warps of a CTA that attend

/// The tokens of a CTA: [first, first + kTokens) as far as they exist, all in block `off`. Tiles
/// are at multiples of kTokens counted from token 0.
template <int kTokens>
struct Tile {
  std::int64_t head;
  std::int64_t first;
  std::int64_t end;  // of the call
  int off;

  /// Of one KV head, in a call.
  static __host__ __device__ std::int64_t count(const AttendParams& p) {
    return (p.start + p.n_tokens - 1) / kTokens - p.start / kTokens + 1;
  }
  /// index: of the tiles of a call, those of the first KV head before those of the next.
  __device__ Tile(const AttendParams& p, std::int64_t index)
      : head(index / count(p)),
        first((p.start / kTokens + index % count(p)) * kTokens),
        end(p.start + p.n_tokens),
        off(static_cast<int>(first / kBlock)) {}

  /// Keys of a block that the token at t sees.
  __device__ int n_visible(int block, std::int64_t t) const {
    return block == off ? static_cast<int>(t % kBlock) + 1 : kBlock;
  }
};

/// Query rows of the token at t: where they lie in queries and outputs; no row of a token that is
/// not in the call.
struct TokenRows {
  std::int64_t offset = 0;
  int count = 0;

  TokenRows() = default;
  template <int kTokens>
  __device__ TokenRows(const AttendParams& p, const Tile<kTokens>& tile, std::int64_t t) {
    if (t < p.start || t >= tile.end) return;
    offset = (t - p.start) * p.shape.q_dim() + tile.head * p.shape.group * p.shape.head_dim;
    count = static_cast<int>(p.shape.group);
  }
};

/// Calls visit(block, members) for all blocks that any token of the tile reads, from the tile's own
/// downwards, since near keys tend to hold the maximum. All lanes of a warp get the same.
template <int kTokens, typename Visit>
__device__ __forceinline__ void for_blocks(const AttendParams& p, const Tile<kTokens>& tile,
                                           const Visit& visit) {
  constexpr int kWords = 32 / kTokens;  // that the lanes hold at a time, lower ones later
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t t = tile.first + lane % kTokens;
  const bool present = t >= p.start && t < tile.end;
  const auto mask_at = [&](int word) {
    return present && word >= 0 ? row_mask(p, tile.head, t, t - p.start, tile.off, word) : 0U;
  };
  const int behind = lane / kTokens;
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
        visit((first - i) * 32 + bit, readers >> (i * kTokens) & ((1U << kTokens) - 1));
      }
    }
  }
}

/// Attends from kTokens tokens to a block, of which the first sees n_visible keys and the next one
/// more.
template <int kDim, int kTokens, typename Queries, typename WaitForValues>
__device__ __forceinline__ void attend_block(Softmax<kDim>* softmax, const Queries& queries,
                                             const __nv_bfloat16* keys, int n_visible, float factor,
                                             const WaitForValues& wait_for_values) {
  float scores[kTokens][kBlock / 8][4];
  multiply<kDim, kBlock>(queries, keys, 0, scores);
  Weights<kBlock / 8> weights[kTokens];
#pragma unroll
  for (int n = 0; n < kTokens; ++n) {
    softmax[n].weigh(scores[n], 0, n_visible + n, factor, weights[n]);
  }
  wait_for_values();
  add_values(softmax, weights, keys + kBlockElements<kDim>, 0);
}

/// Ends a token's softmax and stores its rows.
template <int kDim>
__device__ __forceinline__ void store_rows(Softmax<kDim>& softmax, const AttendParams& p,
                                           const TokenRows& rows) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  softmax.finish();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = c_fragment(lane, half * 2).row;
    if (row >= rows.count) continue;
    const float share = 1.0F / softmax.sum[half];
#pragma unroll
    for (int column = 0; column < kDim / 8; ++column) {
      const float* pair = softmax.out[column] + half * 2;
      *reinterpret_cast<std::uint32_t*>(p.out + rows.offset + row * kDim + column * 8 +
                                        c_fragment(lane, 0).col) =
          pack_bf16(pair[0] * share, pair[1] * share);
    }
  }
}

/// Of the present device.
inline cudaError_t read_attribute(int& value, cudaDeviceAttr which) {
  int device = 0;
  const cudaError_t error = cudaGetDevice(&device);
  return error == cudaSuccess ? cudaDeviceGetAttribute(&value, which, device) : error;
}

/// Starts a body that needs so much dynamic shared memory on all tiles of a call: launch(CTAs,
/// first tile). Behind far keys in waves of one KV head, one tile a processor.
template <int kDim, int kTokens, typename Kernel, typename Launch>
cudaError_t launch_tiles(const AttendParams& p, Kernel* kernel, int shared_bytes,
                         const Launch& launch) {
  int l2_bytes = 0;
  int n_processors = 0;
  for (const cudaError_t error :
       {read_attribute(l2_bytes, cudaDevAttrL2CacheSize),
        read_attribute(n_processors, cudaDevAttrMultiProcessorCount),
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes)}) {
    if (error != cudaSuccess) return error;
  }
  const std::int64_t n_tiles = Tile<kTokens>::count(p);
  if (!is_far(p.start + p.n_tokens, kDim, l2_bytes)) {
    launch(static_cast<unsigned>(n_tiles * p.shape.n_kv_heads), 0);
    return cudaGetLastError();
  }
  for (std::int64_t head = 0; head < p.shape.n_kv_heads; ++head) {
    for (std::int64_t first = 0; first < n_tiles; first += n_processors) {
      const std::int64_t n = n_tiles - first < n_processors ? n_tiles - first : n_processors;
      launch(static_cast<unsigned>(n), head * n_tiles + first);
    }
  }
  return cudaGetLastError();
}

}  // namespace sala::cuda::infllm_v2
