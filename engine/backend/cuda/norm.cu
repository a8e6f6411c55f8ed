// RMS norm: a row in the registers of a warp or a CTA, read once.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/device/warp.cuh"
#include "engine/backend/cuda/norm.h"
#include "engine/backend/cuda/vector8.cuh"

namespace sala::cuda {
namespace {

constexpr int kWarpSize = 32;

/// Sum over the kThreads threads of a row; kThreads is a warp or the whole CTA.
template <int kThreads>
__device__ float row_sum(float x) {
  x = warp_sum(x);
  if constexpr (kThreads > kWarpSize) {
    __shared__ float partial[kThreads / kWarpSize];
    if (threadIdx.x % kWarpSize == 0) partial[threadIdx.x / kWarpSize] = x;
    __syncthreads();
    x = 0;
#pragma unroll
    for (int i = 0; i < kThreads / kWarpSize; ++i) x += partial[i];
  }
  return x;
}

/// kThreads threads a row, each with kVectors vectors of eight; cols is a multiple of eight.
template <int kThreads, int kVectors, int kCta>
__global__ void __launch_bounds__(kCta) rms_norm_kernel(RmsNormParams p) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * (kCta / kThreads) +
                           static_cast<int>(threadIdx.x) / kThreads;
  if (row >= p.rows) return;  // a whole warp, and never of a row that spans the CTA
  const int thread = static_cast<int>(threadIdx.x) % kThreads;
  const __nv_bfloat16* x = p.x + row * p.cols;
  __nv_bfloat16* out = p.out + row * p.cols;

  Vector8 v[kVectors];
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int col = (i * kThreads + thread) * kVector;
    if (col >= p.cols) break;
    v[i] = Vector8::load(x + col);
#pragma unroll
    for (int j = 0; j < kVector; ++j) squares += v[i].value[j] * v[i].value[j];
  }
  const float factor = rsqrtf(row_sum<kThreads>(squares) / static_cast<float>(p.cols) + p.eps);
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int col = (i * kThreads + thread) * kVector;
    if (col >= p.cols) break;
    const Vector8 w = Vector8::load(p.weight + col);
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      v[i].value[j] = round_bf16(v[i].value[j] * factor) * w.value[j];
    }
    v[i].store(out + col);
  }
}

/// Any number of columns and any alignment, one CTA a row.
template <int kCta>
__global__ void __launch_bounds__(kCta) rms_norm_scalar_kernel(RmsNormParams p) {
  const __nv_bfloat16* x = p.x + blockIdx.x * p.cols;
  __nv_bfloat16* out = p.out + blockIdx.x * p.cols;
  float squares = 0;
  for (std::int64_t c = threadIdx.x; c < p.cols; c += kCta) {
    const float value = __bfloat162float(x[c]);
    squares += value * value;
  }
  const float factor = rsqrtf(row_sum<kCta>(squares) / static_cast<float>(p.cols) + p.eps);
  for (std::int64_t c = threadIdx.x; c < p.cols; c += kCta) {
    const float normed = round_bf16(__bfloat162float(x[c]) * factor);
    out[c] = __float2bfloat16_rn(normed * __bfloat162float(p.weight[c]));
  }
}

template <int kThreads, int kVectors, int kCta>
void run(const RmsNormParams& p, cudaStream_t stream) {
  constexpr std::int64_t kRows = kCta / kThreads;
  rms_norm_kernel<kThreads, kVectors, kCta>
      <<<static_cast<unsigned>((p.rows + kRows - 1) / kRows), kCta, 0, stream>>>(p);
}

}  // namespace

cudaError_t launch_rms_norm(const RmsNormParams& p, cudaStream_t stream) {
  if (p.rows == 0) return cudaSuccess;
  const bool vectors =
      p.cols % kVector == 0 && is_aligned(p.x) && is_aligned(p.weight) && is_aligned(p.out);
  if (vectors && p.cols <= 256) {
    run<32, 1, 128>(p, stream);
  } else if (vectors && p.cols <= 1024) {
    run<128, 1, 128>(p, stream);
  } else if (vectors && p.cols <= 4096) {
    run<128, 4, 128>(p, stream);
  } else if (vectors && p.cols <= 16384) {
    run<512, 4, 512>(p, stream);
  } else {
    rms_norm_scalar_kernel<256><<<static_cast<unsigned>(p.rows), 256, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

}  // namespace sala::cuda
