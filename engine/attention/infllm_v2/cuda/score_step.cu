// Block scores of one token: a warp takes 64 windows straight from memory, many CTAs a KV head.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/cuda/score.h"
#include "engine/attention/infllm_v2/cuda/score_tile.cuh"
#include "engine/backend/cuda/device/mma.cuh"

namespace sala::cuda::infllm_v2 {

namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
static_assert(kStepKeys == kWarps * 2 * kStrip, "a warp adds up two strips");

/// Fragments of eight rows, kDim values each, with the inner dimension permuted as in
/// direct_column(): registers 2k and 2k + 1 are the halves of step k. A row that is not valid is
/// zero.
template <int kDim>
__device__ __forceinline__ void load_direct(std::uint32_t (&fragments)[kDim / 8],
                                            const __nv_bfloat16* row, bool valid) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int i = 0; i < kDim / 32; ++i) {
    const uint4 piece =
        valid ? *reinterpret_cast<const uint4*>(row + direct_column(lane, 2 * i, 0)) : uint4{};
    fragments[4 * i] = piece.x;
    fragments[4 * i + 1] = piece.y;
    fragments[4 * i + 2] = piece.z;
    fragments[4 * i + 3] = piece.w;
  }
}

/// The query rows of one KV head, as A fragments of that order.
template <int kDim>
struct Query {
  std::uint32_t upper[kDim / 8];  // rows 0-7
  std::uint32_t lower[kDim / 8];  // rows 8-15

  __device__ __forceinline__ Query(const ScoreParams& p, std::int64_t head) {
    const int row = static_cast<int>(threadIdx.x) % 32 / 4;
    const __nv_bfloat16* q = p.q + (head * p.shape.group + row) * kDim;
    load_direct<kDim>(upper, q, row < p.shape.group);
    load_direct<kDim>(lower, q + 8 * kDim, row + 8 < p.shape.group);
  }
};

/// Products with the 8 * kColumns keys from `first` on; keys outside [0, end) count as zero.
template <int kDim>
__device__ __forceinline__ void multiply(const Query<kDim>& q, const __nv_bfloat16* keys,
                                         std::int64_t first, std::int64_t end,
                                         float (&scores)[kColumns][4]) {
  std::uint32_t b[kColumns][kDim / 8];
#pragma unroll
  for (int column = 0; column < kColumns; ++column) {
    const std::int64_t key = first + column * 8 + static_cast<int>(threadIdx.x) % 32 / 4;
    load_direct<kDim>(b[column], keys + key * kDim, key >= 0 && key < end);
  }
#pragma unroll
  for (int column = 0; column < kColumns; ++column) {
    float(&sum)[4] = scores[column];
    sum[0] = sum[1] = sum[2] = sum[3] = 0.0F;
#pragma unroll
    for (int k = 0; k < kDim / 16; ++k) {
      const std::uint32_t a[4] = {q.upper[2 * k], q.lower[2 * k], q.upper[2 * k + 1],
                                  q.lower[2 * k + 1]};
      mma_bf16(sum, a, b[column][2 * k], b[column][2 * k + 1]);
    }
  }
}

/// Exponential sums of kStepKeys windows into partials (n_kv_heads, slices, kRows).
template <int kDim>
__global__ void __launch_bounds__(kThreads) basis_kernel(const ScoreStepParams p) {
  __shared__ float2 warps[kWarps][kRows];  // maximum and sum
  const std::int64_t t = *p.position;
  const std::int64_t n = p.row.n_basis(t);
  const std::int64_t slice = blockIdx.x;
  if (t < p.ranked_begin || slice * kStepKeys >= n) return;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t head = blockIdx.y;
  const Cache& cache = p.row.cache;
  const __nv_bfloat16* keys = p.row.exact_lse ? cache.k1 + head * cache.k1_capacity() * kDim
                                              : cache.k2 + head * cache.k2_capacity() * kDim;
  const Query<kDim> q(p.row, head);
  ExpSum rows[2];
  const std::int64_t first = slice * kStepKeys + warp * 2 * kStrip;
#pragma unroll
  for (int j = 0; j < 2 * kStrip; j += 8 * kColumns) {
    float scores[kColumns][4];
    multiply<kDim>(q, keys, first + j, n, scores);
    const std::int64_t left = n - first - j;
    add_scores(scores, p.row.shape.scale * kLog2e, left > kStrip ? kStrip : static_cast<int>(left),
               rows);
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const ExpSum sum = warp_merge<4, 1>(rows[half]);
    if (lane % 4 == 0) warps[warp][c_fragment(lane, half * 2).row] = {sum.max, sum.sum};
  }
  __syncthreads();
  if (threadIdx.x >= kRows) return;
  ExpSum sum;
#pragma unroll
  for (const auto& part : warps) sum = merge(sum, {part[threadIdx.x].x, part[threadIdx.x].y});
  p.partials[(head * gridDim.x + slice) * kRows + threadIdx.x] = {sum.max, sum.sum};
}

/// log2 of each row's sum over all slices; rows without a head get +infinity.
__device__ __forceinline__ void merge_partials(const ScoreStepParams& p, std::int64_t head,
                                               std::int64_t n_slices, std::int64_t stride,
                                               float (&lse)[kRows]) {
  constexpr int kLanes = kThreads / kRows;  // that share a row
  const int row = static_cast<int>(threadIdx.x) / kLanes;
  ExpSum sum;
  for (std::int64_t i = static_cast<int>(threadIdx.x) % kLanes; i < n_slices; i += kLanes) {
    const float2 part = p.partials[(head * stride + i) * kRows + row];
    sum = merge(sum, {part.x, part.y});
  }
  sum = warp_merge<kLanes, 1>(sum);
  if (threadIdx.x % kLanes == 0) lse[row] = row < p.row.shape.group ? log2_sum(sum) : INFINITY;
  __syncthreads();
}

template <int kDim>
__global__ void __launch_bounds__(kThreads)
    weights_kernel(const ScoreStepParams p, const std::int64_t partials_stride) {
  __shared__ float lse[kRows];
  const std::int64_t t = *p.position;
  const std::int64_t candidates = p.row.shape.candidates_end(t / kBlock);
  const std::int64_t n_scores = padded_scores(candidates);
  if (t < p.ranked_begin || blockIdx.x * kWarps * kStepBlocks >= n_scores) return;
  const std::int64_t head = blockIdx.y;
  const std::int64_t n_slices = ceil_div(p.row.n_basis(t), kStepKeys);
  merge_partials(p, head, n_slices, partials_stride, lse);

  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t tile = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp;
  const std::int64_t first = step_first_window(tile);
  const __nv_bfloat16* keys = p.row.cache.k1 + head * p.row.cache.k1_capacity() * kDim;
  const Query<kDim> q(p.row, head);
  const float row_lse[2] = {lse[c_fragment(lane, 0).row], lse[c_fragment(lane, 2).row]};
  float folded[8];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float weights[2][2 * kColumns];  // of the same half of two strips
#pragma unroll
    for (int strip = 0; strip < 2; ++strip) {
      float scores[kColumns][4];
      multiply<kDim>(q, keys, first + strip * kStrip + half * 8 * kColumns, candidates * 4, scores);
      add_weights(scores, p.row.shape.scale * kLog2e, row_lse, weights[strip]);
    }
    fold<2 * kColumns>(weights[0], weights[1], 16, folded + half * 2 * kColumns);
  }
  const float2 sums = head_sums(folded);
  // Windows before the first one do not exist: their weights must not reach block 0.
  const float left = __shfl_up_sync(kWarp, sums.y, 1);
  const __nv_bfloat16 score = pool(sums, first + 2 * lane > 0 ? left : 0.0F);
  const std::int64_t block = tile * kStepBlocks + lane / 2 - 1;
  if (lane % 2 == 0 && lane >= 2 && block < n_scores) {
    p.row.scores[head * p.row.score_stride + block] =
        block < candidates ? score : __float2bfloat16_rn(0.0F);
  }
}

std::int64_t basis_slices(std::int64_t capacity, bool exact_lse) {
  return ceil_div(capacity / (exact_lse ? kStride : kBlock), kStepKeys);
}

template <int kDim>
cudaError_t launch(const ScoreStepParams& p, cudaStream_t stream) {
  const auto heads = static_cast<unsigned>(p.row.shape.n_kv_heads);
  const std::int64_t slices = basis_slices(p.row.cache.capacity, p.row.exact_lse);
  basis_kernel<kDim><<<dim3(static_cast<unsigned>(slices), heads), kThreads, 0, stream>>>(p);
  const std::int64_t tiles = ceil_div(p.row.score_stride, kWarps * kStepBlocks);
  weights_kernel<kDim>
      <<<dim3(static_cast<unsigned>(tiles), heads), kThreads, 0, stream>>>(p, slices);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_score_step(const ScoreStepParams& p, cudaStream_t stream) {
  if (p.row.shape.group > kRows || p.row.n_tokens != 1 || p.row.score_stride % 8 != 0) {
    return cudaErrorInvalidValue;
  }
  if (p.row.shape.head_dim == 64) return launch<64>(p, stream);
  if (p.row.shape.head_dim == 128) return launch<128>(p, stream);
  return cudaErrorInvalidValue;
}

Cost score_step_cost(const ScoreStepParams& p, std::int64_t t) {
  ScoreParams row = p.row;
  row.start = t;
  return score_cost(row);
}

std::int64_t score_step_workspace_bytes(const Shape& shape, std::int64_t capacity, bool exact_lse) {
  return shape.n_kv_heads * basis_slices(capacity, exact_lse) * kRows *
         static_cast<std::int64_t>(sizeof(float2));
}

}  // namespace sala::cuda::infllm_v2
