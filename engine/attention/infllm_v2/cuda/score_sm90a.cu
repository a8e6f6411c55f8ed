// Block scores of many tokens on Hopper: a CTA scores 16 tokens of one KV head.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/cuda/score.h"
#include "engine/attention/infllm_v2/cuda/score_tile.cuh"
#include "engine/backend/cuda/device/mbarrier.cuh"
#include "engine/backend/cuda/device/mma.cuh"
#include "engine/backend/cuda/device/named_barrier.cuh"
#include "engine/backend/cuda/device/register_share.cuh"
#include "engine/backend/cuda/device/ring_place.h"
#include "engine/backend/cuda/device/tma.cuh"
#include "engine/backend/cuda/device/wgmma.cuh"
#include "engine/backend/cuda/tensor_map.h"

namespace sala::cuda::infllm_v2 {

namespace {

constexpr int kStages = 5;
constexpr int kTileKeys = 128;
constexpr int kGroupRows = 64;  // of a product, a warpgroup
// Half of the tokens, with all their queries, is what a warpgroup multiplies with 64 keys.
constexpr int kHalfTokens = kScoreTile / 2;
constexpr int kHalfRows = kHalfTokens * kRows;
constexpr int kHalfWarps = 8;
constexpr int kHalfMeets = 1;  // a named barrier, and the next
// Windows are scored in regions, each of which a warp of either half walks along.
constexpr int kRegions = kHalfWarps;
constexpr int kRegionKeys = kTileKeys / kRegions;  // of a tile
constexpr int kRegionBlocks = kRegionKeys / 4;

constexpr int kWarps = 2 * kHalfWarps;
constexpr int kThreads = 32 * kWarps + 128;  // of the last four warps one copies
constexpr int kCopyRegisters = 24;           // all together must not exceed those at launch
constexpr int kScoreRegisters = 112;

struct Maps {
  CUtensorMap q, basis, k1;
};

template <int kDim>
struct Shared {
  __nv_bfloat16 q[2 * kHalfRows * kDim];  // row kHalfTokens * head + token of either half
  __nv_bfloat16 stages[kStages][kTileKeys * kDim];
  float4 lse[2][kRows / 2][4];  // of two heads: tokens 2i and 2i + 1 of the first, of the second
  std::uint32_t last[2][kRegions][4];  // head sums of a region's last window, two tokens each
  std::uint64_t q_there;
  std::uint64_t there[kStages];  // the copying warp, and the bytes of a tile
  std::uint64_t done[kStages];   // each warp that multiplies
};

/// The tiles of keys that a CTA walks over: first those of the normaliser, then those of k1, made
/// up of the next windows of every region.
struct KeyTiles {
  int head;
  int n_basis;
  int n_scored;

  __device__ int region_blocks() const { return n_scored * kRegionBlocks; }
};

/// Copies all tiles, each when all are done with what its stage held. Called by one warp.
template <int kDim>
__device__ __forceinline__ void copy_tiles(Shared<kDim>& shared, const Maps& maps,
                                           const KeyTiles& tiles) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  RingPlace at;
#pragma unroll 1
  for (int tile = 0; tile < tiles.n_basis + tiles.n_scored; ++tile, at.advance(kStages)) {
    __nv_bfloat16* stage = shared.stages[at.stage];
    std::uint64_t* there = &shared.there[at.stage];
    mbarrier_wait(&shared.done[at.stage], at.parity ^ 1U);  // over in the first round
    if (lane == 0) mbarrier_arrive_expecting(there, sizeof(shared.stages[0]));
    if (tile < tiles.n_basis) {
      const int col = lane * kPanelCols;
      if (col < kDim) {
        load_box(stage + kTileKeys * col, &maps.basis, tiles.head, tile * kTileKeys, col, there);
      }
    } else {
      const int region = lane % kRegions;
      const int col = lane / kRegions * kPanelCols;
      const int row = region * tiles.region_blocks() * 4 + (tile - tiles.n_basis) * kRegionKeys;
      if (col < kDim) {
        load_box(stage + kTileKeys * col + region * kRegionKeys * kPanelCols, &maps.k1, tiles.head,
                 row, col, there);
      }
    }
    __syncwarp();
  }
}

/// Starts sums = a · bᵀ of matrices with kDim columns, in panels of kRowsA and kRowsB rows.
template <int kDim, int kRowsA, int kRowsB>
__device__ __forceinline__ void multiply(WarpgroupSums& sums, const __nv_bfloat16* a,
                                         const __nv_bfloat16* b) {
  const std::uint64_t left = panel_operand(shared_address(a));
  const std::uint64_t right = panel_operand(shared_address(b));
  wgmma_begin();
#pragma unroll
  for (int k = 0; k < kDim; k += 16) {
    wgmma_add(sums, left + operand_step<kRowsA>(k), right + operand_step<kRowsB>(k), k > 0);
  }
  wgmma_commit();
}

/// As add_scores() of fewer columns, but with one maximum a tile, not rounded before it is used.
template <bool kAll>
__device__ __forceinline__ void add_tile(const WarpgroupSums& scores, float factor, int n_valid,
                                         ExpSum (&rows)[2]) {
  constexpr int kLaneColumns = kTileKeys / 4;
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const auto score = [&](int i) {
      const int column = i / 2 * 8 + c_fragment(lane, i % 2).col;
      return kAll || column < n_valid ? scores[i / 2 * 4 + half * 2 + i % 2] : -INFINITY;
    };
    float most = score(0);
#pragma unroll
    for (int i = 1; i < kLaneColumns; ++i) most = fmaxf(most, score(i));
    const float max = fmaxf(rows[half].max, most * factor);
    float sum = rows[half].sum * fast_exp2(rows[half].max - max);
#pragma unroll
    for (int i = 0; i < kLaneColumns; i += 2) {
      sum += fast_exp2(fmaf(score(i), factor, -max)) + fast_exp2(fmaf(score(i + 1), factor, -max));
    }
    rows[half] = {max, sum};
  }
}

/// The first pass: leaves the normalisers of the warp's 16 queries, two heads of eight tokens.
template <int kDim>
__device__ __forceinline__ void normalise(Shared<kDim>& shared, const ScoreParams& p,
                                          const KeyTiles& tiles, std::int64_t first, int warp,
                                          float factor, RingPlace& at) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int half = warp / kHalfWarps;
  const auto visible = static_cast<int>(p.n_basis(first + half * kHalfTokens + lane / 4));
  const __nv_bfloat16* queries = shared.q + warp / 4 * kGroupRows * kPanelCols;
  WarpgroupSums scores;
  ExpSum rows[2];
#pragma unroll 1
  for (int tile = 0; tile < tiles.n_basis; ++tile) {
    mbarrier_wait(&shared.there[at.stage], at.parity);
    multiply<kDim, 2 * kHalfRows, kTileKeys>(scores, queries, shared.stages[at.stage]);
    wgmma_wait(scores);
    if (lane == 0) mbarrier_arrive(&shared.done[at.stage]);
    at.advance(kStages);
    const int n_valid = visible - tile * kTileKeys;
    if (__all_sync(kWarp, n_valid >= kTileKeys)) {
      add_tile<true>(scores, factor, kTileKeys, rows);
    } else {
      add_tile<false>(scores, factor, n_valid, rows);
    }
  }
  const int token = lane / 4;
  auto* lse = reinterpret_cast<float*>(&shared.lse[half][warp % kHalfWarps][token / 2]);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float sum = log2_sum(warp_merge<4, 1>(rows[i]));
    // Rows without a head weigh nothing.
    const bool empty = warp % kHalfWarps * 2 + i >= p.shape.group;
    if (lane % 4 == 0) lse[i * 2 + token % 2] = empty ? INFINITY : sum;
  }
}

/// Head sums of the weights of a lane's two windows and two tokens, as an accumulator. early: lse
/// of the first four heads in registers, so that the first exponentials wait for nothing.
__device__ __forceinline__ void weigh(const WarpgroupSums& scores, float factor,
                                      const float4 (*lse)[4], const float4 (&early)[2],
                                      float (&sums)[4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int head = 0; head < kRows; head += 2) {
    const float4 of = head < 4 ? early[head / 2] : lse[head / 2][lane % 4];
    const float* s = scores + head * 4;
    const auto pair = [&](int i, float a, float b) {
      return fast_exp2(fmaf(s[i], factor, -a)) + fast_exp2(fmaf(s[i + 4], factor, -b));
    };
    const float added[4] = {pair(0, of.x, of.z), pair(1, of.y, of.w), pair(2, of.x, of.z),
                            pair(3, of.y, of.w)};
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[i] = head == 0 ? added[i] : sums[i] + added[i];
  }
}

/// Both halves of registers with two bf16 each.
__device__ __forceinline__ std::uint32_t max_of_pairs(std::uint32_t a, std::uint32_t b) {
  std::uint32_t y;
  asm("max.bf16x2 %0, %1, %2;" : "=r"(y) : "r"(a), "r"(b));
  return y;
}

/// Scores of the four blocks whose 16 windows a warp has summed, two tokens in a register: lanes
/// below 16 get the first and the third block, the others the second and the fourth. before: like
/// windows[1], of the windows before.
__device__ __forceinline__ void pool_blocks(const std::uint32_t (&windows)[2], std::uint32_t before,
                                            std::uint32_t (&blocks)[2]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const bool is_upper = lane >= 16;
  // Windows i and i + 8 are in lanes 4i to 4i + 3: whose window precedes this lane's block?
  const int from = (is_upper ? 12 : 28) + lane % 4;
  const std::uint32_t given[2] = {is_upper ? before : windows[0],
                                  is_upper ? windows[0] : windows[1]};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    blocks[i] = max_of_pairs(windows[i], __shfl_sync(kWarp, given[i], from));
    blocks[i] = max_of_pairs(blocks[i], __shfl_xor_sync(kWarp, blocks[i], 4));
    blocks[i] = max_of_pairs(blocks[i], __shfl_xor_sync(kWarp, blocks[i], 8));
  }
}

/// Those four scores of a token, in order: of the first of the two in lanes 0 to 3, of the second
/// in lanes 4 to 7. From n_valid on they become zero.
__device__ __forceinline__ uint2 four_scores(const std::uint32_t (&blocks)[2], int n_valid) {
  const unsigned pick = (threadIdx.x & 4U) != 0 ? 0x7632 : 0x5410;
  std::uint32_t pairs[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    pairs[i] = __byte_perm(blocks[i], __shfl_xor_sync(kWarp, blocks[i], 16), pick);
    if (n_valid < 2 * i + 2) pairs[i] &= n_valid > 2 * i ? 0xffffU : 0U;
  }
  return {pairs[0], pairs[1]};
}

/// The second pass: scores of the blocks of the warp's region for half of the tokens.
template <int kDim>
__device__ __forceinline__ void score_region(Shared<kDim>& shared, const ScoreParams& p,
                                             const KeyTiles& tiles, std::int64_t first, int warp,
                                             float factor, RingPlace& at) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int half = warp / kHalfWarps;
  const int region = warp % kHalfWarps;
  const auto candidates = static_cast<int>(p.shape.candidates_end(first / kBlock));

  // Lanes 0 to 7 store, a token each.
  const std::int64_t t = first + half * kHalfTokens + lane % 4 * 2 + lane / 4;
  const bool stores = lane < 8 && t >= p.start && t < p.start + p.n_tokens;
  const std::int64_t row = (stores ? t - p.start : 0) * p.shape.n_kv_heads + tiles.head;
  __nv_bfloat16* out = p.scores + row * p.score_stride;
  const int n_stored = stores ? static_cast<int>(padded_scores(candidates)) : 0;

  const float4(*lse)[4] = shared.lse[half];
  const float4 early[2] = {lse[0][lane % 4], lse[1][lane % 4]};
  WarpgroupSums scores;
  const auto begin = [&] {
    multiply<kDim, kTileKeys, 2 * kHalfRows>(
        scores, shared.stages[at.stage] + warp / 4 % 2 * kGroupRows * kPanelCols,
        shared.q + half * kHalfRows * kPanelCols);
  };
  const int first_block = region * tiles.region_blocks();
  const int end_block = first_block + tiles.region_blocks();
  std::uint32_t before = 0;
  std::uint32_t edge = 0;  // the region's first block, without the window before
  mbarrier_wait(&shared.there[at.stage], at.parity);
  begin();
#pragma unroll 1
  for (int block = first_block; block < end_block; block += kRegionBlocks) {
    wgmma_wait(scores);
    if (lane == 0) mbarrier_arrive(&shared.done[at.stage]);
    at.advance(kStages);
    float sums[4];
    weigh(scores, factor, lse, early, sums);
    if (block + kRegionBlocks < end_block) mbarrier_wait(&shared.there[at.stage], at.parity);
    begin();  // at the end of the region: anything, not used
    const std::uint32_t windows[2] = {
        pack_bf16(fminf(sums[0], kLargest), fminf(sums[1], kLargest)),
        pack_bf16(fminf(sums[2], kLargest), fminf(sums[3], kLargest))};
    std::uint32_t blocks[2];
    pool_blocks(windows, before, blocks);
    before = windows[1];
    if (block == first_block) edge = blocks[0];
    const uint2 four = four_scores(blocks, candidates - block);
    if (block < n_stored) *reinterpret_cast<uint2*>(out + block) = four;
  }
  wgmma_wait(scores);

  // The window before a region's first block was the last of another warp's.
  if (lane >= 28) shared.last[half][region][lane % 4] = before;
  named_barrier_wait(kHalfMeets + half, 32 * kHalfWarps);
  if (region > 0 && stores && first_block < candidates) {
    edge = max_of_pairs(edge, shared.last[half][region - 1][lane % 4]);
    reinterpret_cast<std::uint16_t*>(out)[first_block] =
        static_cast<std::uint16_t>(lane < 4 ? edge : edge >> 16);
  }
}

template <int kDim>
__global__ void __launch_bounds__(kThreads, 1)
    score_hopper_kernel(const ScoreParams p, const __grid_constant__ Maps maps) {
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& shared = *reinterpret_cast<Shared<kDim>*>(memory);
  // The shuffle tells the compiler that it is the same in a warp.
  const int warp = __shfl_sync(kWarp, static_cast<int>(threadIdx.x) / 32, 0);
  const auto head = static_cast<int>(blockIdx.y);
  // The last tile first: it has most to do.
  const std::int64_t first = (p.start / kScoreTile + (gridDim.x - 1 - blockIdx.x)) * kScoreTile;
  const std::int64_t last = first + kScoreTile - 1;
  const std::int64_t end = p.start + p.n_tokens;
  const std::int64_t candidates = p.shape.candidates_end(first / kBlock);
  const KeyTiles tiles{
      head, static_cast<int>(ceil_div(p.n_basis(last < end ? last : end - 1), kTileKeys)),
      static_cast<int>(ceil_div(candidates * 4, kTileKeys))};
  if (threadIdx.x == 0) {
    mbarrier_init(&shared.q_there, 1);
    for (int i = 0; i < kStages; ++i) {
      mbarrier_init(&shared.there[i], 1);
      mbarrier_init(&shared.done[i], kWarps);
    }
    publish_barriers();
    mbarrier_arrive_expecting(&shared.q_there, sizeof(shared.q));
    for (int half = 0; half < 2; ++half) {
      for (int col = 0; col < kDim; col += kPanelCols) {
        load_box(shared.q + 2 * kHalfRows * col + half * kHalfRows * kPanelCols, &maps.q, head, 0,
                 static_cast<int>(first - p.start) + half * kHalfTokens, col, &shared.q_there);
      }
    }
  }
  __syncthreads();
  if (warp >= kWarps) {
    keep_registers<kCopyRegisters>();
    if (warp == kWarps) copy_tiles(shared, maps, tiles);
  } else {
    take_registers<kScoreRegisters>();
    const float factor = p.shape.scale * kLog2e;
    RingPlace at;
    mbarrier_wait(&shared.q_there, 0);
    normalise(shared, p, tiles, first, warp, factor, at);
    named_barrier_wait(kHalfMeets + warp / kHalfWarps, 32 * kHalfWarps);
    score_region(shared, p, tiles, first, warp, factor, at);
  }
}

template <int kDim>
cudaError_t launch(const ScoreParams& p, cudaStream_t stream) {
  const std::int64_t end = p.start + p.n_tokens;
  const auto stack = [&](const __nv_bfloat16* keys, std::int64_t step, std::int64_t capacity) {
    return MatrixStack{
        {keys, n_windows(end, step), kDim}, kDim, p.shape.n_kv_heads, capacity * kDim};
  };
  const MatrixStack k1 = stack(p.cache.k1, kStride, p.cache.k1_capacity());
  const MatrixStack k2 = stack(p.cache.k2, kBlock, p.cache.k2_capacity());
  // A matrix a query head, a stack a KV head: a small group is filled up with zeros.
  const MatrixStacks q{{{p.q, p.n_tokens, kDim}, p.shape.q_dim(), p.shape.group, kDim},
                       p.shape.n_kv_heads,
                       p.shape.group * kDim};
  constexpr int kBytes = sizeof(Shared<kDim>);
  Maps maps;
  for (const cudaError_t error :
       {make_tensor_map(maps.q, q, kHalfTokens, kRows),
        make_tensor_map(maps.basis, p.exact_lse ? k1 : k2, kTileKeys),
        make_tensor_map(maps.k1, k1, kRegionKeys),
        cudaFuncSetAttribute(score_hopper_kernel<kDim>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             kBytes)}) {
    if (error != cudaSuccess) return error;
  }
  const std::int64_t n_tiles = (end - 1) / kScoreTile - p.start / kScoreTile + 1;
  const dim3 grid(static_cast<unsigned>(n_tiles), static_cast<unsigned>(p.shape.n_kv_heads));
  score_hopper_kernel<kDim><<<grid, kThreads, kBytes, stream>>>(p, maps);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_score_hopper(const ScoreParams& p, cudaStream_t stream) {
  if (p.shape.head_dim == 64) return launch<64>(p, stream);
  if (p.shape.head_dim == 128) return launch<128>(p, stream);
  return cudaErrorInvalidValue;
}

}  // namespace sala::cuda::infllm_v2
