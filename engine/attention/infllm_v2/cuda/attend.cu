// Attention of many tokens on any GPU: a CTA takes eight of one KV head and all blocks that any of
// them reads.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/cuda/attend.h"
#include "engine/attention/infllm_v2/cuda/attend_tokens.cuh"
#include "engine/backend/cuda/device/mbarrier.cuh"
#include "engine/backend/cuda/device/ring_place.h"

namespace sala::cuda::infllm_v2 {

namespace {

// A warp attends from one token. Four more copy: the first two keys, the others values.
constexpr int kCopyThreads = 64;
constexpr int kThreads = 32 * kReaders + 2 * kCopyThreads;
using AttendTile = Tile<kReaders>;

/// How those who copy blocks and those who read them meet: every block passes through the next of
/// the stages.
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
      mbarrier_init(&all_done[i], 32 * kReaders);
    }
  }
};
static_assert(sizeof(Ring) <= kRingBytes);

/// What a pair of copying warps does: keys, or values. Copies and ldmatrix see shared memory alike,
/// so that the barriers order them without a fence.
template <int kDim, bool kKeys>
__device__ __forceinline__ void copy_blocks(Ring& ring, __nv_bfloat16* stages, int n_stages,
                                            const AttendParams& p, const AttendTile& tile) {
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

/// What the warp of a token does. It waits for the keys of every block, so that it never falls out
/// of step with the parities, and passes over those that its token does not read.
template <int kDim>
__device__ __forceinline__ void attend(Ring& ring, const __nv_bfloat16* stages, int n_stages,
                                       const AttendParams& p, const AttendTile& tile, int warp) {
  const std::int64_t t = tile.first + warp;
  const TokenRows rows(p, tile, t);
  HeldQueries<kDim, 1> query;
  load_query<kDim>(query.fragments[0], p.q + rows.offset, rows.count);
  Softmax<kDim> softmax;
  const float factor = p.shape.scale * kLog2e;
  for (RingPlace at;; at.advance(n_stages)) {
    mbarrier_wait(&ring.keys_there[at.stage], at.parity);
    const std::uint32_t entry = ring.entries[at.stage];
    if (entry_members(entry) == 0) break;
    if ((entry_members(entry) >> warp & 1U) != 0) {
      attend_block<kDim, 1>(&softmax, query, stages + at.stage * 2 * kBlockElements<kDim>,
                            tile.n_visible(static_cast<int>(entry_block(entry)), t), factor,
                            [&] { mbarrier_wait(&ring.values_there[at.stage], at.parity); });
    }
    // Each lane: racecheck does not follow one that arrives for its warp, and it costs nothing.
    mbarrier_arrive(&ring.all_done[at.stage]);
  }
  store_rows(softmax, p, rows);
}

template <int kDim>
__global__ void __launch_bounds__(kThreads, 1)
    attend_kernel(const AttendParams p, const int n_stages, const std::int64_t first_tile) {
  extern __shared__ __align__(256) unsigned char raw[];
  __shared__ Ring ring;
  auto* stages = reinterpret_cast<__nv_bfloat16*>(raw);
  const AttendTile tile(p, first_tile + blockIdx.x);
  // The shuffle tells the compiler that it is the same in a warp.
  const int warp = __shfl_sync(kWarp, static_cast<int>(threadIdx.x) / 32, 0);
  if (threadIdx.x == 0) ring.init();
  __syncthreads();
  if (warp < kReaders) {
    attend<kDim>(ring, stages, n_stages, p, tile, warp);
  } else if (warp < kReaders + kCopyThreads / 32) {
    copy_blocks<kDim, true>(ring, stages, n_stages, p, tile);
  } else {
    copy_blocks<kDim, false>(ring, stages, n_stages, p, tile);
  }
}

template <int kDim>
cudaError_t launch(const AttendParams& p, cudaStream_t stream) {
  int most_bytes = 0;
  const cudaError_t error = read_attribute(most_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin);
  if (error != cudaSuccess) return error;
  const auto stages = static_cast<int>(n_stages(most_bytes, kDim));
  const auto bytes = static_cast<int>(stages * stage_bytes(kDim));
  return launch_tiles<kDim, kReaders>(
      p, attend_kernel<kDim>, bytes, [&](unsigned n, std::int64_t first) {
        attend_kernel<kDim><<<n, kThreads, bytes, stream>>>(p, stages, first);
      });
}

}  // namespace

cudaError_t launch_attend(const AttendParams& p, cudaStream_t stream) {
  const std::int64_t end = p.start + p.n_tokens;
  const bool has_masks = p.masks != nullptr && p.mask_stride >= mask_words((end - 1) / kBlock);
  if (p.shape.group > kRows || (end > p.ranked_begin && !has_masks)) return cudaErrorInvalidValue;
  if (p.hopper) return launch_attend_hopper(p, stream);
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
