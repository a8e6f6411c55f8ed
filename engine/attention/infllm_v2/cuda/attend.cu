// Attention of many tokens: a CTA takes eight of one KV head and all blocks that any of them reads.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/cuda/attend.h"

#include "engine/attention/infllm_v2/cuda/attend_tile.cuh"
#include "engine/backend/cuda/device/mbarrier.cuh"
#include "engine/backend/cuda/device/register_share.cuh"

namespace sala::cuda::infllm_v2 {

namespace {

// A warp attends from one token. Four more copy: the first two keys, the others values.
constexpr int kCopyThreads = 64;
constexpr int kThreads = 32 * kAttendTile + 2 * kCopyThreads;
// 65536 registers, for two warpgroups that attend and one that copies.
constexpr int kAttendRegisters = 232;
constexpr int kCopyRegisters = 40;

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
/// the stages, which are used over and over.
struct Ring {
  std::uint64_t keys_there[kMostStages];
  std::uint64_t values_there[kMostStages];
  std::uint64_t all_done[kMostStages];
  std::uint32_t entries[kMostStages];  // behind keys_there; without members: the end

  __device__ void init() {
    for (int i = 0; i < kMostStages; ++i) {
      // Every copying thread's copies, and once more their leader, who may have left an entry.
      mbarrier_init(&keys_there[i], kCopyThreads + 1);
      mbarrier_init(&values_there[i], kCopyThreads + 1);
      mbarrier_init(&all_done[i], 32 * kAttendTile);
    }
  }
};
static_assert(sizeof(Ring) <= kRingBytes);

/// A stage and the parity of its present use.
struct RingPlace {
  int stage = 0;
  std::uint32_t parity = 0;

  __device__ __forceinline__ void advance(int n_stages) {
    if (++stage == n_stages) {
      stage = 0;
      parity ^= 1U;
    }
  }
};

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

/// What a pair of copying warps does: keys, or values. Copies and ldmatrix see shared memory alike,
/// so that the barriers order them without a fence.
template <int kDim, bool kKeys>
__device__ __forceinline__ void copy_blocks(Ring& ring, __nv_bfloat16* stages, int n_stages,
                                            const AttendParams& p, const Tile& tile) {
  const bool leads = threadIdx.x % kCopyThreads == 0;
  const __nv_bfloat16* rows = (kKeys ? p.cache.k : p.cache.v) + tile.head * p.cache.capacity * kDim;
  std::uint64_t* there = kKeys ? ring.keys_there : ring.values_there;
  __nv_bfloat16* tiles = stages + (kKeys ? 0 : kBlockElements<kDim>);
  RingPlace at;
  const auto announce = [&](std::uint32_t entry) {
    if (leads) {
      if (kKeys) ring.entries[at.stage] = entry;
      mbarrier_arrive(&there[at.stage]);
    }
    mbarrier_arrive_after_copies(&there[at.stage]);
  };
  for_blocks(p, tile, [&](int block, std::uint32_t members) {
    mbarrier_wait(&ring.all_done[at.stage], at.parity ^ 1U);
    load_tile<kDim, kBlock, kCopyThreads>(tiles + at.stage * 2 * kBlockElements<kDim>, rows,
                                          block * kBlock, static_cast<int>(tile.end));
    announce(list_entry(static_cast<std::uint32_t>(block), members));
    at.advance(n_stages);
  });
  if (kKeys) {
    mbarrier_wait(&ring.all_done[at.stage], at.parity ^ 1U);
    announce(list_entry(0, 0));
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

template <int kDim>
__global__ void __launch_bounds__(kThreads, 1)
    attend_kernel(const AttendParams p, const int n_stages, const std::int64_t first_tile) {
  extern __shared__ __align__(256) unsigned char raw[];
  __shared__ Ring ring;
  auto* stages = reinterpret_cast<__nv_bfloat16*>(raw);
  const Tile tile(p, first_tile + blockIdx.x);
  // The shuffle tells the compiler that it is the same in a warp.
  const int warp = __shfl_sync(kWarp, static_cast<int>(threadIdx.x) / 32, 0);
  if (threadIdx.x == 0) ring.init();
  __syncthreads();
  if (warp < kAttendTile) {
    take_registers<kAttendRegisters>();
    attend<kDim>(ring, stages, n_stages, p, tile, warp);
  } else {
    keep_registers<kCopyRegisters>();
    if (warp < kAttendTile + kCopyThreads / 32) {
      copy_blocks<kDim, true>(ring, stages, n_stages, p, tile);
    } else {
      copy_blocks<kDim, false>(ring, stages, n_stages, p, tile);
    }
  }
}

template <int kDim>
cudaError_t launch(const AttendParams& p, cudaStream_t stream) {
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
  error =
      cudaFuncSetAttribute(attend_kernel<kDim>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (error != cudaSuccess) return error;
  const std::int64_t n_tiles = attend_tiles(p.start, p.n_tokens) * p.shape.n_kv_heads;
  const bool in_waves = is_far(p.start + p.n_tokens, kDim, l2_bytes);
  const std::int64_t most = in_waves ? n_processors : n_tiles;
  for (std::int64_t first = 0; first < n_tiles; first += most) {
    const auto n = static_cast<unsigned>(n_tiles - first < most ? n_tiles - first : most);
    attend_kernel<kDim><<<n, kThreads, static_cast<std::size_t>(bytes), stream>>>(p, stages, first);
  }
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_attend(const AttendParams& p, cudaStream_t stream) {
  const bool ranked = p.start + p.n_tokens > p.ranked_begin;
  if (p.shape.group > kRows || (ranked && p.masks == nullptr)) return cudaErrorInvalidValue;
  if (p.shape.head_dim == 64) return launch<64>(p, stream);
  if (p.shape.head_dim == 128) return launch<128>(p, stream);
  return cudaErrorInvalidValue;
}

Cost attend_cost(const AttendParams& p) {
  double keys = 0;
  for (std::int64_t t = p.start; t < p.start + p.n_tokens; ++t) {
    const std::int64_t blocks = t < p.ranked_begin ? t / kBlock + 1 : p.shape.n_selected();
    keys += static_cast<double>((blocks - 1) * kBlock + t % kBlock + 1);
  }
  const auto rows = static_cast<double>(2 * p.n_tokens * p.shape.q_dim());
  const double most = static_cast<double>(p.start + p.n_tokens);
  const double cache = (keys < most ? keys : most) * static_cast<double>(2 * p.shape.kv_dim());
  return {4 * keys * static_cast<double>(p.shape.q_dim()), 2 * (rows + cache)};
}

}  // namespace sala::cuda::infllm_v2
