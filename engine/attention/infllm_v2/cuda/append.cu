// Copies keys and values into the cache and averages keys over the windows that became complete.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/cuda/append.h"

namespace sala::cuda::infllm_v2 {

namespace {

constexpr int kThreads = 128;

__device__ float2 add(float2 a, float2 b) {
  return {a.x + b.x, a.y + b.y};
}

/// Sum of the keys of stride i; keys: this thread's pair of channels of token 0.
__device__ float2 stride_sum(const __nv_bfloat162* keys, std::int64_t i, std::int64_t pairs) {
  float2 sum = {0.0F, 0.0F};
#pragma unroll
  for (int t = 0; t < kStride; ++t) {
    sum = add(sum, __bfloat1622float2(keys[(i * kStride + t) * pairs]));
  }
  return sum;
}

/// Mean of the n strides from `first` on.
__device__ __nv_bfloat162 window_mean(const __nv_bfloat162* keys, std::int64_t first, int n,
                                      std::int64_t pairs) {
  float2 sum = {0.0F, 0.0F};
  for (std::int64_t i = first; i < first + n; ++i) sum = add(sum, stride_sum(keys, i, pairs));
  const float factor = 1.0F / static_cast<float>(n * kStride);
  return __floats2bfloat162_rn(sum.x * factor, sum.y * factor);
}

/// Writes the windows that end with stride i, for one pair of channels of a head.
__device__ void write_windows(const AppendParams& p, std::int64_t head, std::int64_t i, int pair) {
  const std::int64_t pairs = p.shape.head_dim / 2;
  const auto row = [&](__nv_bfloat16* base, std::int64_t capacity, std::int64_t j) {
    return reinterpret_cast<__nv_bfloat162*>(base) + (head * capacity + j) * pairs + pair;
  };
  const __nv_bfloat162* keys = row(p.cache.k, p.cache.capacity, 0);
  if (i >= 1) *row(p.cache.k1, p.cache.k1_capacity(), i - 1) = window_mean(keys, i - 1, 2, pairs);
  if (i >= 7 && i % 4 == 3) {
    *row(p.cache.k2, p.cache.k2_capacity(), i / 4 - 1) = window_mean(keys, i - 7, 8, pairs);
  }
}

/// One 16-byte piece of k and of v a thread.
__global__ void __launch_bounds__(kThreads) copy_kernel(const AppendParams p) {
  const std::int64_t piece = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t head_pieces = p.shape.head_dim / 8;
  const std::int64_t row_pieces = p.shape.n_kv_heads * head_pieces;
  const std::int64_t token = piece / row_pieces;
  if (token >= p.n_tokens) return;
  const std::int64_t head = piece % row_pieces / head_pieces;
  const std::int64_t to =
      (head * p.cache.capacity + p.start + token) * head_pieces + piece % head_pieces;
  reinterpret_cast<uint4*>(p.cache.k)[to] = reinterpret_cast<const uint4*>(p.k)[piece];
  reinterpret_cast<uint4*>(p.cache.v)[to] = reinterpret_cast<const uint4*>(p.v)[piece];
}

/// One pair of channels of the windows that end with one stride, a thread.
__global__ void __launch_bounds__(kThreads) windows_kernel(const AppendParams p) {
  const int pairs = static_cast<int>(p.shape.head_dim / 2);
  const std::int64_t per_cta = kThreads / pairs;
  const std::int64_t i =
      p.start / kStride + blockIdx.x * per_cta + static_cast<int>(threadIdx.x) / pairs;
  if (i >= (p.start + p.n_tokens) / kStride) return;
  write_windows(p, blockIdx.y, i, static_cast<int>(threadIdx.x) % pairs);
}

/// One token: a thread copies the pair of channels that it then averages, so no barrier is needed.
__global__ void step_kernel(const AppendParams p) {
  const std::int64_t head = blockIdx.x;
  const std::int64_t pairs = p.shape.head_dim / 2;
  const int pair = static_cast<int>(threadIdx.x);
  const std::int64_t t = *p.position;
  const std::int64_t from = head * pairs + pair;
  const std::int64_t to = (head * p.cache.capacity + t) * pairs + pair;
  reinterpret_cast<__nv_bfloat162*>(p.cache.k)[to] =
      reinterpret_cast<const __nv_bfloat162*>(p.k)[from];
  reinterpret_cast<__nv_bfloat162*>(p.cache.v)[to] =
      reinterpret_cast<const __nv_bfloat162*>(p.v)[from];
  if ((t + 1) % kStride == 0) write_windows(p, head, t / kStride, pair);
}

}  // namespace

cudaError_t launch_append(const AppendParams& p, cudaStream_t stream) {
  if (p.shape.head_dim != 64 && p.shape.head_dim != 128) return cudaErrorInvalidValue;
  const auto heads = static_cast<unsigned>(p.shape.n_kv_heads);
  if (p.position != nullptr) {
    if (p.n_tokens != 1) return cudaErrorInvalidValue;
    step_kernel<<<heads, static_cast<unsigned>(p.shape.head_dim / 2), 0, stream>>>(p);
    return cudaGetLastError();
  }
  if (p.n_tokens < 1 || p.start + p.n_tokens > p.cache.capacity) return cudaErrorInvalidValue;
  const std::int64_t pieces = p.n_tokens * p.shape.kv_dim() / 8;
  copy_kernel<<<static_cast<unsigned>(ceil_div(pieces, kThreads)), kThreads, 0, stream>>>(p);
  const std::int64_t n_strides = (p.start + p.n_tokens) / kStride - p.start / kStride;
  if (n_strides > 0) {
    const std::int64_t per_cta = kThreads / (p.shape.head_dim / 2);
    const dim3 grid(static_cast<unsigned>(ceil_div(n_strides, per_cta)), heads);
    windows_kernel<<<grid, kThreads, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

Cost append_cost(const AppendParams& p) {
  const auto row = static_cast<double>(2 * p.shape.kv_dim());
  const auto n = static_cast<double>(p.n_tokens);
  const double copies = 4 * n * row;  // k and v, in and out
  const double means = n * row * (1.0 + 1.0 / kStride + 1.0 / kBlock);
  return {0, copies + means};
}

}  // namespace sala::cuda::infllm_v2
