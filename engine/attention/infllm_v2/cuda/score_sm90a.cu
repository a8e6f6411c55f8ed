// Block scores of many tokens on Hopper: a CTA scores 16 tokens of one KV head, a warp one of them.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/cuda/key_tile.cuh"
#include "engine/attention/infllm_v2/cuda/score.h"
#include "engine/attention/infllm_v2/cuda/score_tile.cuh"
#include "engine/backend/cuda/device/mbarrier.cuh"
#include "engine/backend/cuda/device/wgmma.cuh"

namespace sala::cuda::infllm_v2 {

namespace {

constexpr int kThreads = 32 * kScoreTile;
constexpr int kPasses = 2;
constexpr int kStages = 6;
constexpr int kTileKeys = 128;
constexpr int kStepKeys = 64;  // of one product

template <int kDim>
constexpr int kStageElements = kTileKeys * kDim;
template <int kDim>
constexpr int kSharedBytes = kStages * kStageElements<kDim> * 2 + kPasses * sizeof(std::uint64_t);

/// Starts copying a tile of keys into panels; rows from n_keys on become zero.
template <int kDim>
__device__ __forceinline__ void load_panels(__nv_bfloat16* tile, const __nv_bfloat16* keys,
                                            int first, int n_keys) {
  constexpr int kPieces = kDim / 8;
  constexpr int kPass = kThreads / kPieces;  // rows copied at a time
  static_assert(kPass % 8 == 0, "each thread keeps its swizzled column");
  const int row = static_cast<int>(threadIdx.x) / kPieces;
  const int column = static_cast<int>(threadIdx.x) % kPieces * 8;
  __nv_bfloat16* to = tile + panel_element<kTileKeys>(row, column);
  const __nv_bfloat16* from = keys + static_cast<std::int64_t>(first + row) * kDim + column;
#pragma unroll
  for (int i = 0; i < kTileKeys; i += kPass) {
    cp_async_16(to + i * kPanelCols, from + i * kDim, first + row + i < n_keys);
  }
}

/// Starts the products of a warp's token with the keys of one step.
template <int kDim>
__device__ __forceinline__ void multiply(WarpgroupSums& scores,
                                         const std::uint32_t (&q)[kDim / 16][4],
                                         const __nv_bfloat16* keys) {
  const std::uint64_t operand = panel_operand(shared_address(keys));
  wgmma_begin();
  wgmma_set(scores, q[0], operand);
#pragma unroll
  for (int k = 1; k < kDim / 16; ++k) {
    wgmma_add(scores, q[k], operand + operand_step<kTileKeys>(k * 16));
  }
  wgmma_commit();
}

/// Runs step(products, their first key) over all steps of `n_keys` keys. While one step's products
/// are used, those of the next are made. tile_done: a barrier for as many arrivals as warps, at its
/// first phase.
///
/// A warp arrives when it has read a tile and its part of the tile after next has come. It waits
/// for the phase before, so warps may be a tile apart: then the next tile has come altogether, and
/// nobody reads the previous one any more, into whose stage the load goes.
template <int kDim, typename Step>
__device__ __forceinline__ void for_steps(__nv_bfloat16* stages, const __nv_bfloat16* keys,
                                          int n_keys, const std::uint32_t (&q)[kDim / 16][4],
                                          std::uint64_t* tile_done, const Step& step) {
  const auto n_tiles = static_cast<int>(ceil_div(n_keys, kTileKeys));
  const auto stage = [&](int tile) { return stages + tile % kStages * kStageElements<kDim>; };
  const auto load = [&](int tile) {
    if (tile < n_tiles) load_panels<kDim>(stage(tile), keys, tile * kTileKeys, n_keys);
    cp_async_commit();
  };
  WarpgroupSums even;
  WarpgroupSums odd;
  __syncthreads();  // others may still read the tiles of an earlier pass
  for (int tile = 0; tile < kStages - 1; ++tile) load(tile);
  cp_async_wait<kStages - 3>();  // two tiles
  publish_to_wgmma();
  __syncthreads();
  multiply<kDim>(even, q, stage(0));
  wgmma_wait(even);
#pragma unroll 1
  for (int tile = 0; tile < n_tiles; ++tile) {
    multiply<kDim>(odd, q, stage(tile) + kStepKeys * kPanelCols);
    step(even, tile * kTileKeys);
    wgmma_wait(odd);
    mbarrier_wait(tile_done, static_cast<std::uint32_t>(tile + 1) % 2);  // the previous tile's
    cp_async_wait<kStages - 4>();                                        // the tile after next
    publish_to_wgmma();
    __syncwarp();
    if (threadIdx.x % 32 == 0) mbarrier_arrive(tile_done);
    load(tile + kStages - 1);
    multiply<kDim>(even, q, stage(tile + 1));  // after the last tile: anything, not used
    step(odd, tile * kTileKeys + kStepKeys);
    wgmma_wait(even);
  }
}

/// Adds a lane's scores of each of its two rows. factor: of scores, log2(e) included; n_valid:
/// columns that count.
template <bool kAll>
__device__ __forceinline__ void add_scores(const WarpgroupSums& scores, float factor, int n_valid,
                                           ExpSum (&rows)[2]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const auto score = [&](int i) {
      const int column = i / 2 * 8 + c_fragment(lane, i % 2).col;
      return kAll || column < n_valid ? scores[i / 2 * 4 + half * 2 + i % 2] : -INFINITY;
    };
    float most = score(0);
#pragma unroll
    for (int i = 1; i < 16; ++i) most = fmaxf(most, score(i));
    const float max = fmaxf(rows[half].max, most * factor);
    float sum = rows[half].sum * fast_exp2(rows[half].max - max);
#pragma unroll
    for (int i = 0; i < 16; i += 2) {
      sum += fast_exp2(fmaf(score(i), factor, -max)) + fast_exp2(fmaf(score(i + 1), factor, -max));
    }
    rows[half] = {max, sum};
  }
}

/// Head sums of the weights of 64 windows; lane l gets windows 2l and 2l + 1.
__device__ __forceinline__ float2 weigh(const WarpgroupSums& scores, float factor,
                                        const float (&lse)[2]) {
  const auto weight = [&](int i) {
    const float* pair = scores + i / 2 * 4 + i % 2;
    return fast_exp2(fmaf(pair[0], factor, -lse[0])) + fast_exp2(fmaf(pair[2], factor, -lse[1]));
  };
  float folded[8];
#pragma unroll
  for (int i = 0; i < 8; i += 2) {
    const float lower[2] = {weight(i), weight(i + 1)};
    const float upper[2] = {weight(i + 8), weight(i + 9)};
    fold<2>(lower, upper, 16, folded + i);
  }
  fold<4>(folded, folded + 4, 8, folded);
  fold<2>(folded, folded + 2, 4, folded);
  return {folded[0], folded[1]};
}

template <int kDim>
__global__ void __launch_bounds__(kThreads, 1) score_hopper_kernel(const ScoreParams p) {
  extern __shared__ __align__(1024) unsigned char memory[];
  auto* stages = reinterpret_cast<__nv_bfloat16*>(memory);
  auto* tile_done = reinterpret_cast<std::uint64_t*>(stages + kStages * kStageElements<kDim>);
  if (threadIdx.x == 0) {
    for (int pass = 0; pass < kPasses; ++pass) mbarrier_init(tile_done + pass, kThreads / 32);
  }
  // The shuffle tells the compiler that it is the same in a warp.
  const int warp = __shfl_sync(kWarp, static_cast<int>(threadIdx.x) / 32, 0);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t head = blockIdx.y;
  // The last tile first: it has most to do.
  const std::int64_t tile = p.start / kScoreTile + (gridDim.x - 1 - blockIdx.x);
  const std::int64_t t = tile * kScoreTile + warp;
  const std::int64_t end = p.start + p.n_tokens;
  const bool present = t >= p.start && t < end;
  const std::int64_t row = present ? t - p.start : 0;
  const float factor = p.shape.scale * kLog2e;

  std::uint32_t q[kDim / 16][4];
  load_query<kDim>(q, p.q + row * p.shape.q_dim() + head * p.shape.group * kDim,
                   present ? static_cast<int>(p.shape.group) : 0);

  float lse[2];
  {
    const std::int64_t last = (tile + 1) * kScoreTile - 1;
    const auto visible = static_cast<int>(p.n_basis(t));
    const auto n_basis = static_cast<int>(p.n_basis(last < end ? last : end - 1));
    const __nv_bfloat16* basis = p.exact_lse ? p.cache.k1 + head * p.cache.k1_capacity() * kDim
                                             : p.cache.k2 + head * p.cache.k2_capacity() * kDim;
    ExpSum rows[2];
    for_steps<kDim>(stages, basis, n_basis, q, tile_done, [&](const WarpgroupSums& scores, int j) {
      if (visible - j >= kStepKeys) {
        add_scores<true>(scores, factor, kStepKeys, rows);
      } else {
        add_scores<false>(scores, factor, visible - j, rows);
      }
    });
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const bool empty = c_fragment(lane, i * 2).row >= p.shape.group;
      const float sum = log2_sum(warp_merge<4, 1>(rows[i]));
      lse[i] = empty ? INFINITY : sum;  // rows without a head weigh nothing
    }
  }

  const auto candidates = static_cast<int>(p.shape.candidates_end(t / kBlock));
  const int n_stored = present && lane % 2 == 0 ? static_cast<int>(padded_scores(candidates)) : 0;
  const __nv_bfloat16* k1 = p.cache.k1 + head * p.cache.k1_capacity() * kDim;
  __nv_bfloat16* out = p.scores + (row * p.shape.n_kv_heads + head) * p.score_stride;
  float last = 0.0F;  // in lane 0: weight of the window before the step
  const auto store = [&](const WarpgroupSums& scores, int j) {
    const float2 sums = weigh(scores, factor, lse);
    const float before = __shfl_sync(kWarp, sums.y, (lane + 31) % 32);
    const __nv_bfloat16 score = pool(sums, lane == 0 ? last : before);
    last = before;
    const int block = j / 4 + lane / 2;
    if (block < n_stored) out[block] = block < candidates ? score : __float2bfloat16_rn(0.0F);
  };
  for_steps<kDim>(stages, k1, candidates * 4, q, tile_done + 1, store);
}

template <int kDim>
cudaError_t launch(const ScoreParams& p, cudaStream_t stream) {
  const cudaError_t error = cudaFuncSetAttribute(
      score_hopper_kernel<kDim>, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes<kDim>);
  if (error != cudaSuccess) return error;
  const std::int64_t n_tiles = (p.start + p.n_tokens - 1) / kScoreTile - p.start / kScoreTile + 1;
  const dim3 grid(static_cast<unsigned>(n_tiles), static_cast<unsigned>(p.shape.n_kv_heads));
  score_hopper_kernel<kDim><<<grid, kThreads, kSharedBytes<kDim>, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_score_hopper(const ScoreParams& p, cudaStream_t stream) {
  if (p.shape.head_dim == 64) return launch<64>(p, stream);
  if (p.shape.head_dim == 128) return launch<128>(p, stream);
  return cudaErrorInvalidValue;
}

}  // namespace sala::cuda::infllm_v2
