// Block scores of many tokens on any GPU: a CTA scores 16 of one KV head, a warp two of them.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/cuda/score.h"

#include "engine/attention/infllm_v2/cuda/key_tile.cuh"
#include "engine/attention/infllm_v2/cuda/score_tile.cuh"

namespace sala::cuda::infllm_v2 {

namespace {

constexpr int kThreads = 32 * kScoreTile / 2;
constexpr int kStages = 4;
constexpr int kTileKeys = 64;

template <int kDim>
constexpr int kSharedBytes = kStages * kTileKeys * kDim * 2;

/// Runs step(tile in shared memory, its first key) over all tiles of `n_keys` keys.
template <int kDim, typename Step>
__device__ __forceinline__ void for_tiles(__nv_bfloat16* stages, const __nv_bfloat16* keys,
                                          int n_keys, const Step& step) {
  const auto n_tiles = static_cast<int>(ceil_div(n_keys, kTileKeys));
  const auto load = [&](int tile) {
    if (tile < n_tiles) {
      load_tile<kDim, kTileKeys, kThreads>(stages + tile % kStages * kTileKeys * kDim, keys,
                                           tile * kTileKeys, n_keys);
    }
    cp_async_commit();
  };
  __syncthreads();  // others may still read the tiles of an earlier pass
  for (int tile = 0; tile < kStages - 1; ++tile) load(tile);
  for (int tile = 0; tile < n_tiles; ++tile) {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    load(tile + kStages - 1);  // into the tile that everyone left before the barrier
    step(stages + tile % kStages * kTileKeys * kDim, tile * kTileKeys);
  }
}

template <int kDim>
__global__ void __launch_bounds__(kThreads, 2) score_kernel(const ScoreParams p) {
  extern __shared__ __align__(256) unsigned char memory[];
  auto* stages = reinterpret_cast<__nv_bfloat16*>(memory);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t head = blockIdx.y;
  // The last tile first: it has most to do.
  const std::int64_t tile = p.start / kScoreTile + (gridDim.x - 1 - blockIdx.x);
  const std::int64_t t = tile * kScoreTile + warp * 2;  // the first of this warp's tokens
  const std::int64_t end = p.start + p.n_tokens;
  const auto candidates = static_cast<int>(p.shape.candidates_end(t / kBlock));
  const float factor = p.shape.scale * kLog2e;

  HeldQueries<kDim, 2> queries;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const bool present = t + i >= p.start && t + i < end;
    const std::int64_t row = present ? t + i - p.start : 0;
    load_query<kDim>(queries.fragments[i],
                     p.q + row * p.shape.q_dim() + head * p.shape.group * kDim,
                     present ? static_cast<int>(p.shape.group) : 0);
  }

  float lse[2][2];
  {
    const std::int64_t last = (tile + 1) * kScoreTile - 1;
    const int visible[2] = {static_cast<int>(p.n_basis(t)), static_cast<int>(p.n_basis(t + 1))};
    const auto n_basis = static_cast<int>(p.n_basis(last < end ? last : end - 1));
    const __nv_bfloat16* basis = p.exact_lse ? p.cache.k1 + head * p.cache.k1_capacity() * kDim
                                             : p.cache.k2 + head * p.cache.k2_capacity() * kDim;
    ExpSum rows[2][2];
    for_tiles<kDim>(stages, basis, n_basis, [&](const __nv_bfloat16* keys, int j) {
#pragma unroll 1
      for (int first = 0; first < kTileKeys; first += 8 * kColumns) {
        float scores[2][kColumns][4];
        multiply<kDim, kTileKeys>(queries, keys, first, scores);
        add_scores(scores[0], factor, visible[0] - j - first, rows[0]);
        add_scores(scores[1], factor, visible[1] - j - first, rows[1]);
      }
    });
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bool empty = c_fragment(lane, i % 2 * 2).row >= p.shape.group;
      const float sum = log2_sum(warp_merge<4, 1>(rows[i / 2][i % 2]));
      lse[i / 2][i % 2] = empty ? INFINITY : sum;  // rows without a head weigh nothing
    }
  }

  float last = 0.0F;  // weight of the window before the strip
  const std::int64_t mine = t + lane / 16;
  const auto row = static_cast<int>(mine - p.start);
  const int n_stored = mine >= p.start && mine < end && lane % 2 == 0
                           ? static_cast<int>(padded_scores(candidates))
                           : 0;
  const __nv_bfloat16* k1 = p.cache.k1 + head * p.cache.k1_capacity() * kDim;
  for_tiles<kDim>(stages, k1, candidates * 4, [&](const __nv_bfloat16* keys, int j) {
#pragma unroll 1
    for (int first = 0; first < kTileKeys; first += kStrip) {
      float folded[8];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float scores[2][kColumns][4];
        multiply<kDim, kTileKeys>(queries, keys, first + half * 8 * kColumns, scores);
        float weights[2][2 * kColumns];
        add_weights(scores[0], factor, lse[0], weights[0]);
        add_weights(scores[1], factor, lse[1], weights[1]);
        fold<2 * kColumns>(weights[0], weights[1], 16, folded + half * 2 * kColumns);
      }
      const float2 sums = head_sums(folded);
      const float before = __shfl_up_sync(kWarp, sums.y, 1, 16);
      const __nv_bfloat16 score = pool(sums, lane % 16 == 0 ? last : before);
      last = __shfl_sync(kWarp, sums.y, 15, 16);
      const int block = (j + first) / 4 + lane % 16 / 2;
      if (block < n_stored) {
        p.scores[(row * p.shape.n_kv_heads + head) * p.score_stride + block] =
            block < candidates ? score : __float2bfloat16_rn(0.0F);
      }
    }
  });
}

template <int kDim>
cudaError_t launch(const ScoreParams& p, cudaStream_t stream) {
  const cudaError_t error = cudaFuncSetAttribute(
      score_kernel<kDim>, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes<kDim>);
  if (error != cudaSuccess) return error;
  const std::int64_t n_tiles = (p.start + p.n_tokens - 1) / kScoreTile - p.start / kScoreTile + 1;
  const dim3 grid(static_cast<unsigned>(n_tiles), static_cast<unsigned>(p.shape.n_kv_heads));
  score_kernel<kDim><<<grid, kThreads, kSharedBytes<kDim>, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_score(const ScoreParams& p, cudaStream_t stream) {
  const std::int64_t candidates = p.shape.candidates_end((p.start + p.n_tokens - 1) / kBlock);
  if (p.shape.group > kRows || p.shape.topk < 1 || p.start / kBlock < p.shape.n_selected() ||
      p.score_stride < padded_scores(candidates) || p.score_stride % 8 != 0) {
    return cudaErrorInvalidValue;
  }
  if (p.hopper) return launch_score_hopper(p, stream);
  if (p.shape.head_dim == 64) return launch<64>(p, stream);
  if (p.shape.head_dim == 128) return launch<128>(p, stream);
  return cudaErrorInvalidValue;
}

Cost score_cost(const ScoreParams& p) {
  double windows = 0;
  double scores = 0;
  for (std::int64_t t = p.start; t < p.start + p.n_tokens; ++t) {
    const std::int64_t candidates = p.shape.candidates_end(t / kBlock);
    windows += static_cast<double>(4 * candidates + p.n_basis(t));
    scores += static_cast<double>(candidates);
  }
  const std::int64_t last = p.start + p.n_tokens - 1;
  const std::int64_t keys = n_windows(last + 1, kStride) + n_windows(last + 1, kBlock);
  return {2 * windows * static_cast<double>(p.shape.q_dim()),
          2 * (static_cast<double>(p.n_tokens * p.shape.q_dim() + keys * p.shape.kv_dim()) +
               scores * static_cast<double>(p.shape.n_kv_heads))};
}

}  // namespace sala::cuda::infllm_v2
