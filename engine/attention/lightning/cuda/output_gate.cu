// RMS norm over a whole row and the output gate, one block a token, the row held in registers.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/lightning/cuda/output_gate.h"
#include "engine/backend/cuda/device/warp.cuh"
#include "engine/backend/cuda/vector8.cuh"

namespace sala::cuda::lightning {

namespace {

constexpr int kThreads = 256;

__device__ float block_sum(float x) {
  __shared__ float sums[kThreads / 32];
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0.0F;
#pragma unroll
  for (const float part : sums) sum += part;
  return sum;
}

/// Thread t holds the pieces of eight values t, t + 256, ... of the row.
template <int kPieces>
__global__ void __launch_bounds__(kThreads)
    output_gate_kernel(const __grid_constant__ OutputGateParams p) {
  const std::int64_t token = blockIdx.x;
  const __nv_bfloat16* row = p.x + token * p.width;
  Vector8 x[kPieces];
  float squares = 0.0F;
#pragma unroll
  for (int i = 0; i < kPieces; ++i) {
    const int col = (i * kThreads + static_cast<int>(threadIdx.x)) * kVector;
    if (col >= p.width) break;
    x[i] = Vector8::load(row + col);
#pragma unroll
    for (const float value : x[i].value) squares += value * value;
  }
  float factor = 1.0F;
  if (p.norm != nullptr) {
    factor = rsqrtf(block_sum(squares) / static_cast<float>(p.width) + p.rms_norm_eps);
  }
#pragma unroll
  for (int i = 0; i < kPieces; ++i) {
    const int col = (i * kThreads + static_cast<int>(threadIdx.x)) * kVector;
    if (col >= p.width) break;
    if (p.norm != nullptr) {
      const Vector8 weight = Vector8::load(p.norm + col);
#pragma unroll
      for (int j = 0; j < kVector; ++j) x[i].value[j] *= factor * weight.value[j];
    }
    if (p.gate != nullptr) {
      const Vector8 gate = Vector8::load(p.gate + token * p.width + col);
#pragma unroll
      for (int j = 0; j < kVector; ++j) x[i].value[j] *= sigmoid(gate.value[j]);
    }
    x[i].store(p.out + token * p.width + col);
  }
}

template <int kPieces>
cudaError_t launch(const OutputGateParams& p, cudaStream_t stream) {
  output_gate_kernel<kPieces><<<static_cast<unsigned>(p.n_tokens), kThreads, 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_output_gate(const OutputGateParams& params, cudaStream_t stream) {
  if (params.n_tokens < 1 || params.width % kVector != 0) return cudaErrorInvalidValue;
  constexpr std::int64_t kPerPiece = kThreads * kVector;
  if (params.width <= kPerPiece) return launch<1>(params, stream);
  if (params.width <= 2 * kPerPiece) return launch<2>(params, stream);
  if (params.width <= 8 * kPerPiece) return launch<8>(params, stream);
  return cudaErrorInvalidValue;
}

Cost output_gate_cost(const OutputGateParams& params) {
  const double row = static_cast<double>(params.width) * 2;
  const double passes = params.gate != nullptr ? 3 : 2;
  return {0, passes * static_cast<double>(params.n_tokens) * row};
}

}  // namespace sala::cuda::lightning
