// Softmax attention for one token: slices of the keys side by side, then their sum.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/dense/cuda/step.h"

#include "engine/attention/dense/cuda/tiles.h"
#include "engine/backend/cuda/device/ldmatrix.cuh"
#include "engine/backend/cuda/device/load_rows.cuh"
#include "engine/backend/cuda/device/mma.cuh"
#include "engine/backend/cuda/device/warp.cuh"

namespace sala::cuda::dense {

namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * 32;
constexpr int kStages = 3;
constexpr int kKeys = 16;  // of one step of a warp
constexpr float kNothing = -1e30F;

/// A stage of a warp: kKeys keys and as many values.
template <int kDim>
constexpr int kStageElements = 2 * kKeys * kDim;

template <int kDim>
constexpr int kSharedBytes = kWarps * kStages * kStageElements<kDim> * 2;

/// Where slice s of head h leaves its weighted mean, and the log2 of its sum of exponentials.
struct Partials {
  float* mean;  // (slices, n_heads, head_dim)
  float* lse;   // (slices, n_heads)
};
__device__ __forceinline__ Partials partials_of(const StepParams& p) {
  const std::int64_t n = most_slices(p.n_kv_heads, p.capacity) * p.n_heads;
  return {p.partials, p.partials + n * p.head_dim};
}

/// What one warp has gathered for 16 query heads; a thread holds heads lane / 4 and lane / 4 + 8.
template <int kDim>
struct Gathered {
  float out[kDim / 8][4] = {};
  float max[2] = {kNothing, kNothing};
  float sum[2] = {};  // this thread's share; the four threads of a head add up to the whole

  /// One step of the online softmax over 16 keys, of which the first n_valid exist.
  __device__ __forceinline__ void add(const std::uint32_t (&q)[kDim / 16][4],
                                      const __nv_bfloat16* k, const __nv_bfloat16* v, int n_valid,
                                      float scale_log2, int lane) {
    const Element plain = b_address_transposed(lane);
    const Element turned = b_address(lane);
    const int plain_part = swizzled<kDim>(plain.row, plain.col);
    const int turned_part = swizzled<kDim>(turned.row, turned.col);
    float score[2][4] = {};
#pragma unroll
    for (int step = 0; step < kDim / 16; ++step) {
      std::uint32_t b[4];
      ldmatrix_x4(b, k + swizzled_at<kDim>(turned_part, 0, step * 16));
      mma_bf16(score[0], q[step], b[0], b[1]);
      mma_bf16(score[1], q[step], b[2], b[3]);
    }
    std::uint32_t weight[4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = kNothing;
#pragma unroll
      for (int n = 0; n < 2; ++n) {
#pragma unroll
        for (int i = half * 2; i < half * 2 + 2; ++i) {
          const bool exists = n * 8 + c_fragment(lane, i).col < n_valid;
          score[n][i] = exists ? score[n][i] * scale_log2 : -INFINITY;
          largest = fmaxf(largest, score[n][i]);
        }
      }
      largest = fmaxf(max[half], warp_max<4>(largest));
      const float keep = fast_exp2(max[half] - largest);
      max[half] = largest;
      sum[half] *= keep;
#pragma unroll
      for (int n = 0; n < kDim / 8; ++n) {
        out[n][half * 2] *= keep;
        out[n][half * 2 + 1] *= keep;
      }
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const float low = fast_exp2(score[n][half * 2] - largest);
        const float high = fast_exp2(score[n][half * 2 + 1] - largest);
        sum[half] += low + high;
        weight[n * 2 + half] = pack_bf16(low, high);
      }
    }
#pragma unroll
    for (int n = 0; n < kDim / 16; ++n) {
      std::uint32_t b[4];
      ldmatrix_x4_transposed(b, v + swizzled_at<kDim>(plain_part, 0, n * 16));
      mma_bf16(out[2 * n], weight, b[0], b[1]);
      mma_bf16(out[2 * n + 1], weight, b[2], b[3]);
    }
  }
};

/// Queries of a KV head as A fragments; rows beyond the group are zeros.
template <int kDim>
__device__ __forceinline__ void load_queries(std::uint32_t (&q)[kDim / 16][4],
                                             const __nv_bfloat16* group_0, int group, int lane) {
#pragma unroll
  for (int step = 0; step < kDim / 16; ++step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const Element at = a_fragment(lane, i);
      const __nv_bfloat16* from = group_0 + at.row * kDim + step * 16 + at.col;
      q[step][i] = at.row < group ? *reinterpret_cast<const std::uint32_t*>(from) : 0U;
    }
  }
}

/// Block (slice, KV head). Every warp takes every fourth step of 16 keys with a pipeline of its
/// own; in the end the four are added in order.
template <int kDim>
__global__ void __launch_bounds__(kThreads, 2)
    slice_kernel(const __grid_constant__ StepParams p, const float scale_log2) {
  extern __shared__ __align__(128) unsigned char memory[];
  const std::int64_t length = static_cast<std::int64_t>(*p.position) + 1;
  const Slices cut = slices(length, p.n_kv_heads);
  const std::int64_t slice = blockIdx.x;
  if (slice >= cut.count) return;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int kv_head = static_cast<int>(blockIdx.y);
  const int group = p.n_heads / p.n_kv_heads;
  const std::int64_t first = slice * cut.size;
  const int n_keys = static_cast<int>(min(cut.size, length - first));
  const std::int64_t row_0 = (kv_head * p.capacity + first) * kDim;
  const __nv_bfloat16* k = p.k + row_0;
  const __nv_bfloat16* v = p.v + row_0;

  __nv_bfloat16* stages =
      reinterpret_cast<__nv_bfloat16*>(memory) + warp * kStages * kStageElements<kDim>;
  const auto stage = [&](int i) { return stages + i % kStages * kStageElements<kDim>; };
  const auto key_0 = [&](int i) { return (i * kWarps + warp) * kKeys; };
  const auto start_load = [&](int i) {
    const int key = key_0(i);
    if (key < n_keys) {
      const ValidRows valid{0, min(n_keys - key, kKeys)};
      load_rows<kDim, kKeys, 32>(stage(i), k + key * kDim, kDim, valid, lane);
      load_rows<kDim, kKeys, 32>(stage(i) + kKeys * kDim, v + key * kDim, kDim, valid, lane);
    }
    cp_async_commit();
  };
  for (int i = 0; i < kStages - 1; ++i) start_load(i);

  std::uint32_t q[kDim / 16][4];
  load_queries<kDim>(q, p.q + kv_head * group * kDim, group, lane);
  Gathered<kDim> gathered;
  for (int i = 0; key_0(i) < n_keys; ++i) {
    cp_async_wait<kStages - 2>();
    __syncwarp();  // the stage is there for all lanes, and all are done with the one before
    start_load(i + kStages - 1);
    gathered.add(q, stage(i), stage(i) + kKeys * kDim, n_keys - key_0(i), scale_log2, lane);
  }
  cp_async_wait<0>();
  __syncthreads();  // the stages make room for what the warps have gathered

  auto* out = reinterpret_cast<float*>(memory);   // (kWarps, 16, kDim)
  float* max = out + kWarps * kMostGroup * kDim;  // (kWarps, 16)
  float* sum = max + kWarps * kMostGroup;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp * kMostGroup + half * 8 + lane / 4;
    const float total = warp_sum<4>(gathered.sum[half]);
    if (lane % 4 == 0) {
      max[row] = gathered.max[half];
      sum[row] = total;
    }
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
      *reinterpret_cast<float2*>(out + row * kDim + n * 8 + lane % 4 * 2) =
          make_float2(gathered.out[n][half * 2], gathered.out[n][half * 2 + 1]);
    }
  }
  __syncthreads();

  const Partials partials = partials_of(p);
  const std::int64_t to = slice * p.n_heads + kv_head * group;
  for (int index = static_cast<int>(threadIdx.x); index < group * kDim; index += kThreads) {
    const int row = index / kDim;
    float largest = kNothing;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) largest = fmaxf(largest, max[w * kMostGroup + row]);
    float total = 0.0F;
    float weighted = 0.0F;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      const float factor = fast_exp2(max[w * kMostGroup + row] - largest);
      total += factor * sum[w * kMostGroup + row];
      weighted += factor * out[(w * kMostGroup + row) * kDim + index % kDim];
    }
    partials.mean[to * kDim + index] = weighted / total;
    if (index % kDim == 0) partials.lse[to + row] = largest + log2f(total);
  }
}

constexpr int kParts = 8;  // of the slices of a head, added side by side

/// Block (head): first a thread a slice finds the weights, then thread (part, column) adds every
/// eighth slice, and the first part adds the parts.
template <int kDim>
__global__ void __launch_bounds__(kParts* kDim)
    combine_kernel(const __grid_constant__ StepParams p) {
  static_assert(kParts * kDim >= kMostSlices, "a thread a slice");
  __shared__ float weights[kMostSlices];
  __shared__ float warp_largest[kParts * kDim / 32];
  __shared__ float sums[kParts][kDim];
  __shared__ float totals[kParts];
  const int thread = static_cast<int>(threadIdx.x);
  const int head = static_cast<int>(blockIdx.x);
  const auto count = static_cast<int>(slices(*p.position + 1, p.n_kv_heads).count);
  const Partials partials = partials_of(p);

  const float lse = thread < count ? partials.lse[thread * p.n_heads + head] : kNothing;
  float largest = warp_max(lse);
  if (thread % 32 == 0) warp_largest[thread / 32] = largest;
  __syncthreads();
#pragma unroll
  for (const float other : warp_largest) largest = fmaxf(largest, other);
  if (thread < count) weights[thread] = fast_exp2(lse - largest);
  __syncthreads();

  const int part = thread / kDim;
  const int col = thread % kDim;
  float sum = 0.0F;
  float total = 0.0F;
#pragma unroll 8
  for (int slice = part; slice < count; slice += kParts) {
    const std::int64_t from = static_cast<std::int64_t>(slice) * p.n_heads + head;
    sum += weights[slice] * partials.mean[from * kDim + col];
    total += weights[slice];
  }
  sums[part][col] = sum;
  if (col == 0) totals[part] = total;
  __syncthreads();
  if (part != 0) return;
  sum = 0.0F;
  total = 0.0F;
#pragma unroll
  for (int i = 0; i < kParts; ++i) {
    sum += sums[i][col];
    total += totals[i];
  }
  p.out[head * kDim + col] = __float2bfloat16_rn(sum / total);
}

template <int kDim>
cudaError_t launch(const StepParams& p, cudaStream_t stream) {
  constexpr int kBytes = kSharedBytes<kDim>;
  static_assert(kBytes >= (kWarps * kMostGroup * (kDim + 2)) * 4, "room for the results of warps");
  const cudaError_t error =
      cudaFuncSetAttribute(slice_kernel<kDim>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return error;
  const dim3 grid(static_cast<unsigned>(most_slices(p.n_kv_heads, p.capacity)),
                  static_cast<unsigned>(p.n_kv_heads));
  slice_kernel<kDim><<<grid, kThreads, kBytes, stream>>>(p, p.scale * kLog2e);
  combine_kernel<kDim><<<static_cast<unsigned>(p.n_heads), kParts * kDim, 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_step(const StepParams& params, cudaStream_t stream) {
  if (params.n_heads / params.n_kv_heads > kMostGroup) return cudaErrorInvalidValue;
  if (params.head_dim == 64) return launch<64>(params, stream);
  if (params.head_dim == 128) return launch<128>(params, stream);
  return cudaErrorInvalidValue;
}

Cost step_cost(const StepParams& params, std::int64_t t) {
  const auto n = static_cast<double>(t + 1);
  const double width = static_cast<double>(params.n_heads) * params.head_dim;
  const double kv_width = static_cast<double>(params.n_kv_heads) * params.head_dim;
  return {4 * n * width, 4 * n * kv_width + 4 * width};
}

std::int64_t step_workspace_bytes(std::int64_t capacity, int n_heads, int n_kv_heads,
                                  int head_dim) {
  return most_slices(n_kv_heads, capacity) * n_heads * (head_dim + 1) * 4;
}

}  // namespace sala::cuda::dense
