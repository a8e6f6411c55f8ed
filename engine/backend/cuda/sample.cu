// Greedy sampling: every CTA finds its best, the last one to finish finds the best of them. The
// result does not depend on which one that is.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/sample.h"
#include "engine/backend/cuda/vector8.cuh"

namespace sala::cuda {
namespace {

constexpr int kCta = 256;
constexpr int kWarps = kCta / 32;

/// A key that grows with the logit and, for equal logits, falls with the id.
__device__ __forceinline__ unsigned long long key_of(float logit, std::int64_t id) {
  const std::uint32_t bits = __float_as_uint(logit + 0.0F);  // -0 equals 0
  const std::uint32_t ordered = (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
  return static_cast<unsigned long long>(ordered) << 32 |
         (0xffffffffU - static_cast<std::uint32_t>(id));
}

struct Best {
  unsigned long long key;
  bool is_finite;
};

/// Best of the CTA, in thread 0.
__device__ Best reduce(Best best) {
  __shared__ unsigned long long keys[kWarps];
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const unsigned long long other = __shfl_xor_sync(0xffffffffU, best.key, step);
    best.key = other > best.key ? other : best.key;
  }
  if (threadIdx.x % 32 == 0) keys[threadIdx.x / 32] = best.key;
  best.is_finite = __syncthreads_and(best.is_finite ? 1 : 0) != 0;
  if (threadIdx.x == 0) {
    for (int i = 1; i < kWarps; ++i) best.key = keys[i] > best.key ? keys[i] : best.key;
  }
  return best;
}

__global__ void __launch_bounds__(kCta) greedy_kernel(GreedyParams p) {
  Best best{0, true};
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kCta + threadIdx.x; i < p.vocab;
       i += static_cast<std::int64_t>(kSampleCtas) * kCta) {
    const float logit = p.round_to_bf16 ? round_bf16(p.logits[i]) : p.logits[i];
    best.is_finite = best.is_finite && isfinite(logit);
    const unsigned long long key = key_of(logit, i);
    best.key = key > best.key ? key : best.key;
  }
  best = reduce(best);

  __shared__ bool is_last;
  if (threadIdx.x == 0) {
    p.scratch->best[blockIdx.x] = best.key;
    p.scratch->is_finite[blockIdx.x] = best.is_finite ? 1 : 0;
    __threadfence();
    is_last = atomicAdd(&p.scratch->n_done, 1U) == kSampleCtas - 1;
  }
  __syncthreads();
  if (!is_last) return;

  __threadfence();
  const int cta = static_cast<int>(threadIdx.x);
  best = {0, true};
  if (cta < kSampleCtas) {
    best = {__ldcg(&p.scratch->best[cta]), __ldcg(&p.scratch->is_finite[cta]) != 0};
  }
  best = reduce(best);
  if (threadIdx.x == 0) {
    const auto id = 0xffffffffU - static_cast<std::uint32_t>(best.key);
    *p.sampled = {static_cast<std::int32_t>(best.is_finite ? id : 0U), best.is_finite ? 1 : 0};
    p.scratch->n_done = 0;
  }
}

}  // namespace

cudaError_t launch_greedy(const GreedyParams& params, cudaStream_t stream) {
  if (params.vocab <= 0) return cudaErrorInvalidValue;
  greedy_kernel<<<kSampleCtas, kCta, 0, stream>>>(params);
  return cudaGetLastError();
}

}  // namespace sala::cuda
