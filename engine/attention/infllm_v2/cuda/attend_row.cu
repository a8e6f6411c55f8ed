// Attention of one row: warps take 16 keys each of a block, and CTAs may share the row's list.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/cuda/attend_row.h"

#include "engine/attention/infllm_v2/cuda/attend_tile.cuh"

namespace sala::cuda::infllm_v2 {

namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kWarpKeys = kBlock / kWarps;

/// What the warps of a CTA leave for its rows; reuses the stages.
template <int kDim>
struct WarpResults {
  float max[kWarps][kRows];
  float sum[kWarps][kRows];
  float out[kWarps][kRows][kDim];
};
static_assert(sizeof(WarpResults<64>) <= sizeof(AttendMemory<64>::stages));
static_assert(sizeof(WarpResults<128>) <= sizeof(AttendMemory<128>::stages));

/// Partial results of a step: (n_kv_heads, kMostSlices, kRows) of outputs (head_dim), then maximum
/// and sum.
constexpr std::int64_t partial_floats(std::int64_t head_dim) {
  return head_dim + 2;
}
__device__ __forceinline__ float* partial(const AttendStepParams& p, std::int64_t head,
                                          std::int64_t slice, std::int64_t row) {
  return p.partials +
         ((head * kMostSlices + slice) * kRows + row) * partial_floats(p.row.shape.head_dim);
}

__device__ __forceinline__ std::int64_t n_blocks(const AttendParams& p, std::int64_t t) {
  return t < p.ranked_begin ? t / kBlock + 1 : p.shape.n_selected();
}

/// Attends from the row at t, `row` of the call, to entries [begin, end) of its list and leaves the
/// warps' results in shared memory, behind a barrier.
template <int kDim>
__device__ __forceinline__ const WarpResults<kDim>& attend(AttendMemory<kDim>& memory,
                                                           const AttendParams& p, std::int64_t head,
                                                           std::int64_t t, std::int64_t row,
                                                           int begin, int end) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const auto off = static_cast<int>(t / kBlock);
  const bool ranked = t >= p.ranked_begin;
  if (ranked) {
    make_list<1, kThreads>(memory.list, off,
                           [&](int, int word) { return row_mask(p, head, t, row, off, word); });
  }
  std::uint32_t q[kDim / 16][4];
  load_query<kDim>(q, p.q + row * p.shape.q_dim() + head * p.shape.group * kDim,
                   static_cast<int>(p.shape.group));
  Softmax<kDim> softmax;
  const float factor = p.shape.scale * kLog2e;
  const auto entry = [&](int i) {
    return ranked ? memory.list[list_order(i, p.shape.n_selected(), p.shape.local_blocks + 1)]
                  : list_entry(static_cast<std::uint32_t>(off - i), 1);
  };
  for_blocks<kDim, kThreads>(
      memory, p, head, t + 1, begin, end, entry,
      [&](const __nv_bfloat16* keys, const __nv_bfloat16* values, std::uint32_t chosen) {
        const auto block = static_cast<int>(entry_block(chosen));
        const int n_visible = block == off ? static_cast<int>(t % kBlock) + 1 : kBlock;
        softmax.template add<kWarpKeys>(q, keys, values, warp * kWarpKeys, n_visible, factor);
      });
  softmax.finish();

  __syncthreads();  // the stages are free
  auto& results = reinterpret_cast<WarpResults<kDim>&>(memory.stages);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = c_fragment(lane, half * 2).row;
    results.max[warp][query] = softmax.max[half];
    results.sum[warp][query] = softmax.sum[half];
#pragma unroll
    for (int column = 0; column < kDim / 8; ++column) {
      float* pair = results.out[warp][query] + column * 8 + c_fragment(lane, 0).col;
      pair[0] = softmax.out[column][half * 2];
      pair[1] = softmax.out[column][half * 2 + 1];
    }
  }
  __syncthreads();
  return results;
}

/// One column of a row over its warps: output, maximum and sum that go together.
struct Merged {
  float out, max, sum;
};
template <int kDim>
__device__ __forceinline__ Merged merge(const WarpResults<kDim>& results, int row, int column) {
  Merged merged = {0.0F, kLowest, 0.0F};
#pragma unroll
  for (int i = 0; i < kWarps; ++i) merged.max = fmaxf(merged.max, results.max[i][row]);
#pragma unroll
  for (int i = 0; i < kWarps; ++i) {
    const float weight = fast_exp2(results.max[i][row] - merged.max);
    merged.out += results.out[i][row][column] * weight;
    merged.sum += results.sum[i][row] * weight;
  }
  return merged;
}

template <int kDim>
__global__ void __launch_bounds__(kThreads) alone_kernel(const AttendParams p) {
  extern __shared__ __align__(256) unsigned char raw[];
  const std::int64_t row = blockIdx.x;
  const std::int64_t head = blockIdx.y;
  const std::int64_t t = p.start + row;
  const std::int64_t tile = t / kAttendTile - p.start / kAttendTile;
  if (p.alone[head * attend_tiles(p.start, p.n_tokens) + tile] == 0) return;
  const WarpResults<kDim>& results = attend(*reinterpret_cast<AttendMemory<kDim>*>(raw), p, head, t,
                                            row, 0, static_cast<int>(n_blocks(p, t)));
  __nv_bfloat16* out = p.out + row * p.shape.q_dim() + head * p.shape.group * kDim;
  for (int i = static_cast<int>(threadIdx.x); i < p.shape.group * kDim; i += kThreads) {
    const Merged merged = merge<kDim>(results, i / kDim, i % kDim);
    out[i] = __float2bfloat16_rn(merged.out / merged.sum);
  }
}

template <int kDim>
__global__ void __launch_bounds__(kThreads) slice_kernel(const AttendStepParams p) {
  extern __shared__ __align__(256) unsigned char raw[];
  const std::int64_t t = *p.position;
  const std::int64_t n = n_blocks(p.row, t);
  const std::int64_t begin = blockIdx.x * slices(n).size;
  if (begin >= n) return;
  const std::int64_t end = begin + slices(n).size < n ? begin + slices(n).size : n;
  const std::int64_t head = blockIdx.y;
  const WarpResults<kDim>& results =
      attend(*reinterpret_cast<AttendMemory<kDim>*>(raw), p.row, head, t, 0,
             static_cast<int>(begin), static_cast<int>(end));
  for (int i = static_cast<int>(threadIdx.x); i < p.row.shape.group * kDim; i += kThreads) {
    const Merged merged = merge<kDim>(results, i / kDim, i % kDim);
    float* to = partial(p, head, blockIdx.x, i / kDim);
    to[i % kDim] = merged.out;
    if (i % kDim == 0) {
      to[kDim] = merged.max;
      to[kDim + 1] = merged.sum;
    }
  }
}

/// A thread adds one column of a query head over the slices.
template <int kDim>
__global__ void __launch_bounds__(kDim) combine_kernel(const AttendStepParams p) {
  const std::int64_t row = blockIdx.x;
  const std::int64_t head = blockIdx.y;
  const auto column = static_cast<int>(threadIdx.x);
  const std::int64_t count = slices(n_blocks(p.row, *p.position)).count;
  float max = kLowest;
  for (std::int64_t i = 0; i < count; ++i) max = fmaxf(max, partial(p, head, i, row)[kDim]);
  float out = 0.0F;
  float sum = 0.0F;
  for (std::int64_t i = 0; i < count; ++i) {
    const float* part = partial(p, head, i, row);
    const float weight = fast_exp2(part[kDim] - max);
    out += part[column] * weight;
    sum += part[kDim + 1] * weight;
  }
  p.row.out[(head * p.row.shape.group + row) * kDim + column] = __float2bfloat16_rn(out / sum);
}

template <int kDim>
cudaError_t launch_alone(const AttendParams& p, cudaStream_t stream) {
  constexpr int kBytes = sizeof(AttendMemory<kDim>);
  const cudaError_t error =
      cudaFuncSetAttribute(alone_kernel<kDim>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return error;
  const dim3 grid(static_cast<unsigned>(p.n_tokens), static_cast<unsigned>(p.shape.n_kv_heads));
  alone_kernel<kDim><<<grid, kThreads, kBytes, stream>>>(p);
  return cudaGetLastError();
}

template <int kDim>
cudaError_t launch_step(const AttendStepParams& p, cudaStream_t stream) {
  constexpr int kBytes = sizeof(AttendMemory<kDim>);
  const cudaError_t error =
      cudaFuncSetAttribute(slice_kernel<kDim>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return error;
  const auto heads = static_cast<unsigned>(p.row.shape.n_kv_heads);
  slice_kernel<kDim><<<dim3(kMostSlices, heads), kThreads, kBytes, stream>>>(p);
  combine_kernel<kDim>
      <<<dim3(static_cast<unsigned>(p.row.shape.group), heads), kDim, 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_attend_alone(const AttendParams& p, cudaStream_t stream) {
  return p.shape.head_dim == 64 ? launch_alone<64>(p, stream) : launch_alone<128>(p, stream);
}

cudaError_t launch_attend_step(const AttendStepParams& p, cudaStream_t stream) {
  const bool may_rank = p.row.ranked_begin < p.row.cache.capacity;
  if (p.row.shape.group > kRows || p.row.n_tokens != 1 ||
      (may_rank && (p.row.shape.n_selected() > kListEntries || p.row.masks == nullptr))) {
    return cudaErrorInvalidValue;
  }
  if (p.row.shape.head_dim == 64) return launch_step<64>(p, stream);
  if (p.row.shape.head_dim == 128) return launch_step<128>(p, stream);
  return cudaErrorInvalidValue;
}

Cost attend_step_cost(const AttendStepParams& p, std::int64_t t) {
  AttendParams row = p.row;
  row.start = t;
  return attend_cost(row);
}

std::int64_t attend_step_workspace_bytes(const Shape& shape) {
  return shape.n_kv_heads * kMostSlices * kRows * partial_floats(shape.head_dim) *
         static_cast<std::int64_t>(sizeof(float));
}

}  // namespace sala::cuda::infllm_v2
