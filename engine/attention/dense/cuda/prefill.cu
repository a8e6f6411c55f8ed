// Causal softmax attention in tiles: four warps of 32 query rows over tiles of 64 keys.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/dense/cuda/prefill.h"

#include "engine/attention/dense/cuda/tiles.h"
#include "engine/backend/cuda/device/keep_in_loop.cuh"
#include "engine/backend/cuda/device/ldmatrix.cuh"
#include "engine/backend/cuda/device/load_rows.cuh"
#include "engine/backend/cuda/device/mma.cuh"
#include "engine/backend/cuda/device/warp.cuh"

namespace sala::cuda::dense {

namespace {

constexpr int kThreads = 128;
constexpr int kStages = 2;
constexpr float kNothing = -1e30F;  // a maximum over no keys; finite, so that differences are

template <int kDim>
constexpr int kKeyElements = kKeyTile * kDim;

template <int kDim>
constexpr int kSharedBytes = (kQueryTile * kDim + kStages * 2 * kKeyElements<kDim>)*2;

/// One warp's 32 rows: what they have gathered, and the running maximum and sum of every row in
/// units of log2. A thread holds rows m * 16 + half * 8 + lane / 4 of it.
template <int kDim>
struct Rows {
  float out[2][kDim / 8][4];
  float max[2][2];
  float sum[2][2];  // this thread's share; the four threads of a row add up to the whole

  __device__ __forceinline__ void start() {
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        max[m][half] = kNothing;
        sum[m][half] = 0.0F;
#pragma unroll
        for (int n = 0; n < kDim / 8; ++n) out[m][n][half * 2] = out[m][n][half * 2 + 1] = 0.0F;
      }
    }
  }

  /// One step of the online softmax: rounded weights of the scores, and what was gathered before
  /// rescaled to them.
  __device__ __forceinline__ void weigh(const float (&score)[2][kKeyTile / 8][4], float scale_log2,
                                        std::uint32_t (&weight)[2][kKeyTile / 8][2]) {
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float largest = -INFINITY;
#pragma unroll
        for (int n = 0; n < kKeyTile / 8; ++n) {
          largest = fmaxf(largest, fmaxf(score[m][n][half * 2], score[m][n][half * 2 + 1]));
        }
        largest = fmaxf(max[m][half], warp_max<4>(largest) * scale_log2);
        const float keep = fast_exp2(max[m][half] - largest);
        max[m][half] = largest;
        float total = 0.0F;
#pragma unroll
        for (int n = 0; n < kKeyTile / 8; ++n) {
          const float low = fast_exp2(score[m][n][half * 2] * scale_log2 - largest);
          const float high = fast_exp2(score[m][n][half * 2 + 1] * scale_log2 - largest);
          total += low + high;
          weight[m][n][half] = pack_bf16(low, high);
        }
        sum[m][half] = sum[m][half] * keep + total;
#pragma unroll
        for (int n = 0; n < kDim / 8; ++n) {
          out[m][n][half * 2] *= keep;
          out[m][n][half * 2 + 1] *= keep;
        }
      }
    }
  }

  /// out += weights · v.
  __device__ __forceinline__ void gather(const std::uint32_t (&weight)[2][kKeyTile / 8][2],
                                         const __nv_bfloat16* v, int lane_part) {
#pragma unroll
    for (int n = 0; n < kDim / 16; ++n) {
#pragma unroll
      for (int step = 0; step < kKeyTile / 16; ++step) {
        std::uint32_t b[4];
        ldmatrix_x4_transposed(b, v + swizzled_at<kDim>(lane_part, step * 16, n * 16));
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          const std::uint32_t a[4] = {weight[m][step * 2][0], weight[m][step * 2][1],
                                      weight[m][step * 2 + 1][0], weight[m][step * 2 + 1][1]};
          mma_bf16(out[m][2 * n], a, b[0], b[1]);
          mma_bf16(out[m][2 * n + 1], a, b[2], b[3]);
        }
      }
    }
  }

  /// Divides by the sums and leaves bf16 rows in a swizzled tile.
  __device__ __forceinline__ void finish(__nv_bfloat16* tile, int warp, int lane) {
    const Element at = c_fragment(lane, 0);
    const int part = swizzled<kDim>(at.row, at.col);
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float factor = 1.0F / warp_sum<4>(sum[m][half]);
#pragma unroll
        for (int n = 0; n < kDim / 8; ++n) {
          const int to = swizzled_at<kDim>(part, warp * kWarpRows + m * 16 + half * 8, n * 8);
          *reinterpret_cast<std::uint32_t*>(tile + to) =
              pack_bf16(out[m][n][half * 2] * factor, out[m][n][half * 2 + 1] * factor);
        }
      }
    }
  }
};

/// score = q · kᵀ of a warp's 32 rows and 64 keys.
template <int kDim>
__device__ __forceinline__ void multiply(float (&score)[2][kKeyTile / 8][4], const __nv_bfloat16* q,
                                         const __nv_bfloat16* k, int q_part, int k_part) {
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int n = 0; n < kKeyTile / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) score[m][n][i] = 0.0F;
    }
  }
#pragma unroll
  for (int step = 0; step < kDim / 16; ++step) {
    std::uint32_t a[2][4];
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      ldmatrix_x4(a[m], q + swizzled_at<kDim>(q_part, m * 16, step * 16));
    }
#pragma unroll
    for (int n = 0; n < kKeyTile / 16; ++n) {
      std::uint32_t b[4];
      ldmatrix_x4(b, k + swizzled_at<kDim>(k_part, n * 16, step * 16));
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        mma_bf16(score[m][2 * n], a[m], b[0], b[1]);
        mma_bf16(score[m][2 * n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

/// Hides from row r of the warp the keys of a tile after key ahead + r.
__device__ __forceinline__ void mask(float (&score)[2][kKeyTile / 8][4], int ahead, int lane) {
  const Element at = c_fragment(lane, 0);
  const int most = ahead + at.row - at.col;
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int n = 0; n < kKeyTile / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int key = n * 8 + i % 2;
        if (key > most + m * 16 + i / 2 * 8) score[m][n][i] = -INFINITY;
      }
    }
  }
}

/// Block (head, query tile); the tiles with most keys have the lowest numbers and start first.
template <int kDim>
__global__ void __launch_bounds__(kThreads, 2)
    prefill_kernel(const __grid_constant__ PrefillParams p, const float scale_log2) {
  extern __shared__ __align__(128) unsigned char memory[];
  auto* q_tile = reinterpret_cast<__nv_bfloat16*>(memory);
  __nv_bfloat16* stages = q_tile + kQueryTile * kDim;
  int thread = static_cast<int>(threadIdx.x);
  const int warp = __shfl_sync(kWarp, thread / 32, 0);
  const int lane = thread % 32;
  const int head = static_cast<int>(blockIdx.x);
  const Call call{p.start, p.start + p.n_tokens};
  const std::int64_t base =
      (p.start / kQueryTile + n_query_tiles(call) - 1 - blockIdx.y) * kQueryTile;
  const ValidRows valid = rows_within<kQueryTile>(base, call.start, call.end);
  const int n_tiles = static_cast<int>(n_key_tiles(call, base));
  const int n_keys = static_cast<int>(call.end);
  const std::int64_t kv_head = head / (p.n_heads / p.n_kv_heads);
  const __nv_bfloat16* k = p.k + kv_head * p.capacity * kDim;
  const __nv_bfloat16* v = p.v + kv_head * p.capacity * kDim;
  const std::int64_t width = static_cast<std::int64_t>(p.n_heads) * kDim;
  const __nv_bfloat16* q = p.q + (base - p.start) * width + head * kDim;
  __nv_bfloat16* out = p.out + (base - p.start) * width + head * kDim;

  const auto stage = [&](int tile) { return stages + tile % kStages * 2 * kKeyElements<kDim>; };
  const auto start_load = [&](int tile) {
    if (tile < n_tiles) {
      const ValidRows keys{0, min(n_keys - tile * kKeyTile, kKeyTile)};
      const std::int64_t from = static_cast<std::int64_t>(tile) * kKeyTile * kDim;
      load_rows<kDim, kKeyTile, kThreads>(stage(tile), k + from, kDim, keys, thread);
      load_rows<kDim, kKeyTile, kThreads>(stage(tile) + kKeyElements<kDim>, v + from, kDim, keys,
                                          thread);
    }
    cp_async_commit();
  };
  load_rows<kDim, kQueryTile, kThreads>(q_tile, q, width, valid, thread);
  for (int i = 0; i < kStages; ++i) start_load(i);

  Rows<kDim> rows;
  rows.start();
  const Element plain = a_address(lane);
  const Element turned = b_address(lane);
  int plain_part = swizzled<kDim>(plain.row, plain.col);
  int turned_part = swizzled<kDim>(turned.row, turned.col);
  const int row_0 = static_cast<int>(base) + warp * kWarpRows;

  for (int tile = 0; tile < n_tiles; ++tile) {
    // Keys of the tile up to the token of the warp's first row, less one; a multiple of 32.
    const int ahead = row_0 - tile * kKeyTile;
    cp_async_wait<kStages - 1>();
    __syncthreads();
    keep_in_loop(plain_part);
    keep_in_loop(turned_part);
    keep_in_loop(thread);
    if (ahead >= 0) {
      float score[2][kKeyTile / 8][4];
      multiply<kDim>(score, q_tile + warp * kWarpRows * kDim, stage(tile), plain_part, turned_part);
      if (ahead < kKeyTile - 1) mask(score, ahead, lane);
      std::uint32_t weight[2][kKeyTile / 8][2];
      rows.weigh(score, scale_log2, weight);
      rows.gather(weight, stage(tile) + kKeyElements<kDim>, plain_part);
    }
    __syncthreads();
    start_load(tile + kStages);
  }
  cp_async_wait<0>();

  // Only this warp reads its rows of q: they make room for its results.
  rows.finish(q_tile, warp, lane);
  __syncwarp();
  constexpr int kPieces = kDim / 8;
#pragma unroll
  for (int pass = 0; pass < kWarpRows * kPieces / 32; ++pass) {
    const int row = warp * kWarpRows + (pass * 32 + lane) / kPieces;
    const int col = lane % kPieces * 8;
    if (row >= valid.first && row < valid.end) {
      *reinterpret_cast<uint4*>(out + row * width + col) =
          *reinterpret_cast<const uint4*>(q_tile + swizzled<kDim>(row, col));
    }
  }
}

template <int kDim>
cudaError_t launch(const PrefillParams& p, cudaStream_t stream) {
  constexpr int kBytes = kSharedBytes<kDim>;
  const cudaError_t error = cudaFuncSetAttribute(
      prefill_kernel<kDim>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return error;
  const Call call{p.start, p.start + p.n_tokens};
  const dim3 grid(static_cast<unsigned>(p.n_heads), static_cast<unsigned>(n_query_tiles(call)));
  prefill_kernel<kDim><<<grid, kThreads, kBytes, stream>>>(p, p.scale * kLog2e);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_prefill(const PrefillParams& params, cudaStream_t stream) {
  if (params.n_tokens < 1) return cudaErrorInvalidValue;
  if (params.head_dim == 64) return launch<64>(params, stream);
  if (params.head_dim == 128) return launch<128>(params, stream);
  return cudaErrorInvalidValue;
}

Cost prefill_cost(const PrefillParams& params) {
  const auto n = static_cast<double>(params.n_tokens);
  const auto past = static_cast<double>(params.start);
  const double pairs = n * past + n * (n + 1) / 2;
  const double width = static_cast<double>(params.n_heads) * params.head_dim;
  const double kv_width = static_cast<double>(params.n_kv_heads) * params.head_dim;
  return {4 * pairs * width, 2 * (2 * n * width + 2 * (n + past) * kv_width)};
}

}  // namespace sala::cuda::dense
