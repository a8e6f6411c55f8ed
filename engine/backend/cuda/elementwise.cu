// Element-wise kernels: 16-byte accesses where everything is aligned, single elements elsewhere.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/elementwise.h"
#include "engine/backend/cuda/vector8.cuh"
#include "engine/base/splitmix.h"

namespace sala::cuda {
namespace {

constexpr int kCta = 256;

struct SiluMul {
  __device__ float operator()(float gate, float up) const { return gate * sigmoid(gate) * up; }
};
struct SigmoidMul {
  __device__ float operator()(float gate, float x) const { return x * sigmoid(gate); }
};
struct Scale {
  float factor;
  __device__ float operator()(float x, float) const { return x * factor; }
};

/// out[i] = op(a[i], b[i]); out may be a or b.
template <typename Op>
__global__ void __launch_bounds__(kCta)
    binary_kernel(const __nv_bfloat16* a, const __nv_bfloat16* b, __nv_bfloat16* out,
                  std::int64_t n, std::int64_t n_vectors, Op op) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kCta + threadIdx.x;
  if (index < n_vectors) {
    const std::int64_t i = index * kVector;
    Vector8 x = Vector8::load(a + i);
    const Vector8 y = Vector8::load(b + i);
#pragma unroll
    for (int j = 0; j < kVector; ++j) x.value[j] = op(x.value[j], y.value[j]);
    x.store(out + i);
    return;
  }
  const std::int64_t i = n_vectors * kVector + (index - n_vectors);
  if (i < n) out[i] = __float2bfloat16_rn(op(__bfloat162float(a[i]), __bfloat162float(b[i])));
}

template <typename Op>
cudaError_t run_binary(const __nv_bfloat16* a, const __nv_bfloat16* b, __nv_bfloat16* out,
                       std::int64_t n, Op op, cudaStream_t stream) {
  if (n == 0) return cudaSuccess;
  const bool vectors = is_aligned(a) && is_aligned(b) && is_aligned(out);
  const std::int64_t n_vectors = vectors ? n / kVector : 0;
  const std::int64_t n_threads = n_vectors + (n - n_vectors * kVector);
  binary_kernel<<<static_cast<unsigned>((n_threads + kCta - 1) / kCta), kCta, 0, stream>>>(
      a, b, out, n, n_vectors, op);
  return cudaGetLastError();
}

__global__ void __launch_bounds__(kCta) embed_kernel(EmbedParams p, bool vectors) {
  const __nv_bfloat16* from = p.table + p.ids[blockIdx.x] * p.cols;
  __nv_bfloat16* to = p.out + blockIdx.x * p.cols;
  if (vectors) {
    for (std::int64_t c = threadIdx.x * kVector; c < p.cols; c += kCta * kVector) {
      Vector8 v = Vector8::load(from + c);
#pragma unroll
      for (int j = 0; j < kVector; ++j) v.value[j] *= p.scale;
      v.store(to + c);
    }
    return;
  }
  for (std::int64_t c = threadIdx.x; c < p.cols; c += kCta) {
    to[c] = __float2bfloat16_rn(__bfloat162float(from[c]) * p.scale);
  }
}

__global__ void __launch_bounds__(kCta)
    fill_uniform_kernel(__nv_bfloat16* x, std::uint64_t first_index, float half_width,
                        std::int64_t n) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kCta + threadIdx.x;
  if (i >= n) return;
  x[i] =
      __float2bfloat16_rn(uniform_value(first_index + static_cast<std::uint64_t>(i), half_width));
}

__global__ void set_kernel(std::int32_t* to, std::int32_t value, bool is_increment) {
  *to = value + (is_increment ? *to : 0);
}

}  // namespace

cudaError_t launch_silu_mul(const __nv_bfloat16* gate, const __nv_bfloat16* up, __nv_bfloat16* out,
                            std::int64_t n, cudaStream_t stream) {
  return run_binary(gate, up, out, n, SiluMul{}, stream);
}

cudaError_t launch_sigmoid_mul(const __nv_bfloat16* gate, __nv_bfloat16* out, std::int64_t n,
                               cudaStream_t stream) {
  return run_binary(gate, out, out, n, SigmoidMul{}, stream);
}

cudaError_t launch_scale(__nv_bfloat16* x, float scale, std::int64_t n, cudaStream_t stream) {
  return run_binary(x, x, x, n, Scale{scale}, stream);
}

cudaError_t launch_embed(const EmbedParams& p, cudaStream_t stream) {
  if (p.rows == 0) return cudaSuccess;
  const bool vectors = p.cols % kVector == 0 && is_aligned(p.table) && is_aligned(p.out);
  embed_kernel<<<static_cast<unsigned>(p.rows), kCta, 0, stream>>>(p, vectors);
  return cudaGetLastError();
}

cudaError_t launch_fill_uniform(__nv_bfloat16* x, std::uint64_t first_index, float half_width,
                                std::int64_t n, cudaStream_t stream) {
  if (n == 0) return cudaSuccess;
  fill_uniform_kernel<<<static_cast<unsigned>((n + kCta - 1) / kCta), kCta, 0, stream>>>(
      x, first_index, half_width, n);
  return cudaGetLastError();
}

cudaError_t launch_set(std::int32_t* to, std::int32_t value, bool is_increment,
                       cudaStream_t stream) {
  set_kernel<<<1, 1, 0, stream>>>(to, value, is_increment);
  return cudaGetLastError();
}

cudaError_t probe_code() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, set_kernel);
}

}  // namespace sala::cuda
