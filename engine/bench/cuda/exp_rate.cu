// Independent chains hide the latency of the special function unit, which is then what is measured.
// SPDX-License-Identifier: Apache-2.0
#include "engine/bench/cuda/exp_rate.h"

namespace sala::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksPerSm = 8;
constexpr int kChains = 8;
constexpr int kSteps = 2048;

/// 2^-x: a chain of it stays near 0.64.
__device__ float step(float x) {
  float y;
  asm volatile("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(-x));
  return y;
}

__global__ void __launch_bounds__(kThreads) exp_rate(float* out) {
  float x[kChains];
  for (int c = 0; c < kChains; ++c) x[c] = 0.1F * static_cast<float>(c);
#pragma unroll 8
  for (int i = 0; i < kSteps; ++i) {
#pragma unroll
    for (int c = 0; c < kChains; ++c) x[c] = step(x[c]);
  }
  float sum = 0;
  for (int c = 0; c < kChains; ++c) sum += x[c];
  out[blockIdx.x * kThreads + threadIdx.x] = sum;
}

}  // namespace

std::int64_t exp_rate_outputs(int n_sm) {
  return std::int64_t{kThreads} * kBlocksPerSm * n_sm;
}

double exp_rate_count(int n_sm) {
  return static_cast<double>(exp_rate_outputs(n_sm)) * kChains * kSteps;
}

cudaError_t launch_exp_rate(float* out, int n_sm, cudaStream_t stream) {
  exp_rate<<<kBlocksPerSm * n_sm, kThreads, 0, stream>>>(out);
  return cudaGetLastError();
}

}  // namespace sala::cuda
