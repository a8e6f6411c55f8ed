// The gated product of an MLP on Hopper: both sums of a result meet in one thread's registers.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "engine/backend/cuda/device/mbarrier.cuh"
#include "engine/backend/cuda/device/mma.cuh"
#include "engine/backend/cuda/device/named_barrier.cuh"
#include "engine/backend/cuda/device/register_share.cuh"
#include "engine/backend/cuda/device/ring_place.h"
#include "engine/backend/cuda/device/stmatrix.cuh"
#include "engine/backend/cuda/device/tma.cuh"
#include "engine/backend/cuda/device/warp.cuh"
#include "engine/backend/cuda/device/wgmma.cuh"
#include "engine/backend/cuda/swiglu_product.h"
#include "engine/backend/cuda/swiglu_product_tiles.h"
#include "engine/backend/cuda/tensor_map.h"

namespace sala::cuda {
namespace {

using namespace swiglu;

constexpr int kStages = 4;
constexpr int kGroupRows = 64;  // of a warpgroup's products
constexpr int kProductThreads = kTileRows / kGroupRows * 128;
constexpr int kThreads = kProductThreads + 128;
constexpr int kProductWarps = kProductThreads / 32;
constexpr int kCopyRegisters = 40;  // a thread; all together must not exceed those at launch
constexpr int kProductRegisters = 232;
constexpr int kFirstGroupBegan = 1;  // a named barrier

struct Stage {
  __nv_bfloat16 x[kTileRows * kTileIn];
  __nv_bfloat16 gate[kTileCols * kTileIn];
  __nv_bfloat16 up[kTileCols * kTileIn];  // right behind: one operand of 256 rows
};
struct Shared {
  Stage stages[kStages];
  __nv_bfloat16 results[kProductWarps][kWarpRows * kTileCols];
  std::uint64_t full[kStages];   // the copying thread, and the bytes of a stage
  std::uint64_t empty[kStages];  // each warp with products, of both CTAs
};
static_assert(sizeof(Stage) % 1024 == 0 && kWarpRows * kTileCols * 2 % 1024 == 0, "swizzled tiles");

struct Maps {
  CUtensorMap x, gate, up, out;
};

/// Brings the stages of all tiles of the cluster: a CTA its own rows of x, and for both CTAs the
/// weights of the gate (rank 0) or of the other factor (rank 1). Called by one thread.
__device__ __forceinline__ void copy_tiles(Shared& shared, const Maps& maps, TileOrder order,
                                           int n_steps, int rank) {
  constexpr std::uint16_t kBoth = (1 << kClusterCtas) - 1;
  const CUtensorMap* weights = rank == 0 ? &maps.gate : &maps.up;
  const int n_clusters = static_cast<int>(gridDim.x) / kClusterCtas;
  RingPlace at;
  for (int i = static_cast<int>(blockIdx.x) / kClusterCtas; i < order.n_tiles(); i += n_clusters) {
    const Element tile = order.tile(i);
    const int row = tile.row * kClusterRows + rank * kTileRows;
    for (int step = 0; step < n_steps; ++step, at.advance(kStages)) {
      Stage& stage = shared.stages[at.stage];
      std::uint64_t* full = &shared.full[at.stage];
      mbarrier_wait(&shared.empty[at.stage], at.parity ^ 1U);  // over in the first round
      mbarrier_arrive_expecting(full, sizeof(Stage));
      load_box(stage.x, &maps.x, row, step * kTileIn, full);
      load_box_for(kBoth, rank == 0 ? stage.gate : stage.up, weights, tile.col * kTileCols,
                   step * kTileIn, full);
    }
  }
}

/// silu(gate) * up of two results, rounded: one reciprocal serves both. The bound keeps the product
/// of their denominators finite, and what should vanish below 2^-60 of gate * up.
__device__ __forceinline__ std::uint32_t gated(const float* gate, const float* up) {
  constexpr float kMostExponent = 60.0F;
  const float a = 1 + fast_exp2(fminf(gate[0] * -kLog2e, kMostExponent));
  const float b = 1 + fast_exp2(fminf(gate[1] * -kLog2e, kMostExponent));
  const float reciprocal = __fdividef(1.0F, a * b);
  return pack_bf16(gate[0] * up[0] * (reciprocal * b), gate[1] * up[1] * (reciprocal * a));
}

/// Stores a warp's results of a tile, whose first is (row, col). results: of this warp.
__device__ __forceinline__ void store_results(const WideSums& sums, __nv_bfloat16* results,
                                              const CUtensorMap* out, int row, int col) {
  constexpr int kUp = 64;  // of the sums, where those of the other factor begin
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (lane == 0) store_wait_read();  // the tile before
  __syncwarp();
#pragma unroll
  for (int c = 0; c < kTileCols; c += 16) {
    std::uint32_t fragment[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float* gate = sums + c / 2 + i * 2;
      fragment[i] = gated(gate, gate + kUp);
    }
    stmatrix_x4(results + result_place(lane, c), fragment);
  }
  publish_to_copies();
  __syncwarp();
  if (lane == 0) {
    for (int panel = 0; panel < kTileCols / kPanelCols; ++panel) {
      store_box(out, row, col + panel * kPanelCols, results + panel * kWarpRows * kPanelCols);
    }
    store_commit();
  }
}

/// Multiplies all tiles of the cluster, a warpgroup 64 rows of its CTA.
__device__ __forceinline__ void multiply_tiles(Shared& shared, const Maps& maps, TileOrder order,
                                               int n_steps, int rank, int warp) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int group_row = warp / 4 * kGroupRows;
  const int n_clusters = static_cast<int>(gridDim.x) / kClusterCtas;
  RingPlace at;
  RingPlace oldest;  // of the stages not yet released
  const auto release = [&] {
    if (lane < kClusterCtas) mbarrier_arrive_at(&shared.empty[oldest.stage], lane);
    oldest.advance(kStages);
  };
  // The second group stays a stage behind: one multiplies while the other stores a tile.
  if (warp >= 4) named_barrier_wait(kFirstGroupBegan, kProductThreads);
  WideSums sums = {};
  const int first = static_cast<int>(blockIdx.x) / kClusterCtas;
  for (int i = first; i < order.n_tiles(); i += n_clusters) {
    for (int step = 0; step < n_steps; ++step, at.advance(kStages)) {
      const Stage& stage = shared.stages[at.stage];
      mbarrier_wait(&shared.full[at.stage], at.parity);
      const std::uint64_t x = panel_operand(shared_address(stage.x + group_row * kTileIn));
      const std::uint64_t weights = panel_operand(shared_address(stage.gate));
      wgmma_begin();
#pragma unroll
      for (int k = 0; k < kTileIn; k += 16) {
        wgmma_wide(sums, x + operand_step<kTileRows>(k), weights + operand_step<2 * kTileCols>(k),
                   step > 0 || k > 0);
      }
      wgmma_commit();
      if (step == 0) {
        if (i == first && warp < 4) named_barrier_arrive(kFirstGroupBegan, kProductThreads);
        continue;
      }
      wgmma_wait_for_earlier();
      release();
    }
    wgmma_wait(sums);
    release();
    const Element tile = order.tile(i);
    store_results(sums, shared.results[warp], &maps.out,
                  tile.row * kClusterRows + rank * kTileRows + warp * kWarpRows,
                  tile.col * kTileCols);
  }
  if (lane == 0) store_wait_read();
}

__global__ void __cluster_dims__(kClusterCtas, 1, 1) __launch_bounds__(kThreads, 1)
    swiglu_product_kernel(const __grid_constant__ Maps maps, TileOrder order, int n_steps) {
  extern __shared__ __align__(1024) unsigned char memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  const int rank = static_cast<int>(blockIdx.x) % kClusterCtas;
  // The shuffle tells the compiler that it is the same in a warp.
  const int warp = __shfl_sync(kWarp, static_cast<int>(threadIdx.x) / 32, 0);
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      mbarrier_init(&shared.full[i], 1);
      mbarrier_init(&shared.empty[i], kClusterCtas * kProductWarps);
    }
    publish_barriers();
  }
  __syncwarp();
  meet_cluster();
  if (warp >= kProductWarps) {
    keep_registers<kCopyRegisters>();
    if (threadIdx.x == kProductThreads) copy_tiles(shared, maps, order, n_steps, rank);
  } else {
    take_registers<kProductRegisters>();
    multiply_tiles(shared, maps, order, n_steps, rank, warp);
  }
  __syncwarp();
  meet_cluster();  // the other CTA may still arrive at this one's barriers
}

cudaError_t launch(const SwigluProductParams& p, TileOrder order, cudaStream_t stream) {
  Maps maps;
  for (const cudaError_t error :
       {make_tensor_map(maps.x, Matrix{p.x, p.rows, p.in}, kTileRows),
        make_tensor_map(maps.gate, Matrix{p.gate, p.cols, p.in}, kTileCols),
        make_tensor_map(maps.up, Matrix{p.up, p.cols, p.in}, kTileCols),
        make_tensor_map(maps.out, Matrix{p.out, p.rows, p.cols}, kWarpRows),
        cudaFuncSetAttribute(swiglu_product_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             sizeof(Shared))}) {
    if (error != cudaSuccess) return error;
  }
  int device = 0;
  int n_sms = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  if (const cudaError_t error =
          cudaDeviceGetAttribute(&n_sms, cudaDevAttrMultiProcessorCount, device);
      error != cudaSuccess) {
    return error;
  }
  const int n_clusters = std::min(order.n_tiles(), n_sms / kClusterCtas);
  swiglu_product_kernel<<<static_cast<unsigned>(n_clusters * kClusterCtas), kThreads,
                          sizeof(Shared), stream>>>(maps, order, static_cast<int>(p.in / kTileIn));
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_swiglu_product(const SwigluProductParams& p, cudaStream_t stream) {
  if (p.rows == 0) return cudaSuccess;
  if (p.rows < 0 || !swiglu_product_takes(p.in, p.cols)) return cudaErrorInvalidValue;
  const std::int64_t n_rows = (p.rows + kClusterRows - 1) / kClusterRows;
  const std::int64_t n_cols = p.cols / kTileCols;
  constexpr std::int64_t kMost = std::int64_t{1} << 30;  // 32-bit coordinates and counters
  if (std::max({p.rows, p.in, p.cols, n_rows * n_cols * (p.in / kTileIn)}) > kMost) {
    return cudaErrorInvalidValue;
  }
  return launch(p, {static_cast<int>(n_rows), static_cast<int>(n_cols)}, stream);
}

}  // namespace sala::cuda
