// Attention of one row: warps take 16 keys each of a block, and CTAs share the row's list.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/cuda/attend.h"
#include "engine/attention/infllm_v2/cuda/attend_tile.cuh"

namespace sala::cuda::infllm_v2 {

namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kWarpKeys = kBlock / kWarps;
constexpr int kStages = 3;  // blocks of keys and values in flight

/// Shared memory of a CTA.
template <int kDim>
struct AttendMemory {
  __nv_bfloat16 stages[kStages][2][kBlock * kDim];  // keys, values
  std::uint32_t list[kListEntries];
};
static_assert(sizeof(AttendMemory<128>) <= 99 * 1024 - 256,
              "fits GPUs with 99 KB a CTA, with what make_list() needs");

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

/// Writes the blocks of a mask of 0 ... off, ascending; those beyond kListEntries are left out.
/// Ends with a barrier.
template <typename Mask>
__device__ __forceinline__ void make_list(std::uint32_t* list, std::int64_t off, const Mask& mask) {
  __shared__ int warps[2][kWarps];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const auto n_words = static_cast<int>(mask_words(off));
  int n = 0;
  for (int first = 0, round = 0; first < n_words; first += kThreads, round ^= 1) {
    const int word = first + static_cast<int>(threadIdx.x);
    std::uint32_t blocks = word < n_words ? mask(word) : 0U;
    const int mine = __popc(blocks);
    int inclusive = mine;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const int before = __shfl_up_sync(kWarp, inclusive, step);
      if (lane >= step) inclusive += before;
    }
    if (lane == 31) warps[round][warp] = inclusive;
    __syncthreads();  // two rounds use two arrays: one barrier a round is enough
    int at = n + inclusive - mine;
#pragma unroll
    for (int i = 0; i < kWarps; ++i) {
      if (i < warp) at += warps[round][i];
      n += warps[round][i];
    }
    for (; blocks != 0 && at < kListEntries; blocks &= blocks - 1, ++at) {
      list[at] = static_cast<std::uint32_t>(word * 32 + __ffs(static_cast<int>(blocks)) - 1);
    }
  }
  __syncthreads();
}

/// Attends from the row at t to entries [begin, end) of its list and leaves the warps' results in
/// shared memory, behind a barrier.
template <int kDim>
__device__ __forceinline__ const WarpResults<kDim>& attend(AttendMemory<kDim>& memory,
                                                           const AttendParams& p, std::int64_t head,
                                                           std::int64_t t, int begin, int end) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const auto off = static_cast<int>(t / kBlock);
  const bool ranked = t >= p.ranked_begin;
  if (ranked) {
    make_list(memory.list, off, [&](int word) { return row_mask(p, head, t, 0, off, word); });
  }
  const auto block = [&](int i) { return ranked ? static_cast<int>(memory.list[i]) : i; };
  const std::int64_t base = head * p.cache.capacity * kDim;
  const auto load = [&](int i) {
    if (i < end) {
      auto& [keys, values] = memory.stages[(i - begin) % kStages];
      const int first = block(i) * kBlock;
      load_tile<kDim, kBlock, kThreads>(keys, p.cache.k + base, first, static_cast<int>(t + 1));
      load_tile<kDim, kBlock, kThreads>(values, p.cache.v + base, first, static_cast<int>(t + 1));
    }
    cp_async_commit();
  };
  for (int i = begin; i < begin + kStages - 1; ++i) load(i);

  HeldQueries<kDim, 1> query;
  load_query<kDim>(query.fragments[0], p.q + head * p.shape.group * kDim,
                   static_cast<int>(p.shape.group));
  Softmax<kDim> softmax;
  const float factor = p.shape.scale * kLog2e;
  for (int i = begin; i < end; ++i) {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    load(i + kStages - 1);  // into the stage that everyone left before the barrier
    const auto& [keys, values] = memory.stages[(i - begin) % kStages];
    const int n_visible = block(i) == off ? static_cast<int>(t % kBlock) + 1 : kBlock;
    float scores[1][kWarpKeys / 8][4];
    multiply<kDim, kBlock>(query, keys, warp * kWarpKeys, scores);
    Weights<kWarpKeys / 8> weights[1];
    softmax.weigh(scores[0], warp * kWarpKeys, n_visible, factor, weights[0]);
    add_values(&softmax, weights, values, warp * kWarpKeys);
  }
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
__global__ void __launch_bounds__(kThreads) slice_kernel(const AttendStepParams p) {
  extern __shared__ __align__(256) unsigned char raw[];
  const std::int64_t t = *p.position;
  const std::int64_t n = n_blocks(p.row, t);
  const std::int64_t begin = blockIdx.x * slices(n).size;
  if (begin >= n) return;
  const std::int64_t end = begin + slices(n).size < n ? begin + slices(n).size : n;
  const std::int64_t head = blockIdx.y;
  const WarpResults<kDim>& results =
      attend(*reinterpret_cast<AttendMemory<kDim>*>(raw), p.row, head, t, static_cast<int>(begin),
             static_cast<int>(end));
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
