// Launcher of greedy sampling on the GPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace sala::cuda {

struct Sampled {
  std::int32_t id;         // of the largest logit, the lowest on ties
  std::int32_t is_finite;  // 0 when a logit was NaN or infinite
};

constexpr int kSampleCtas = 64;

/// What launch_greedy() needs besides the logits; zeroed once, and left zeroed by every call.
struct SampleScratch {
  unsigned long long best[kSampleCtas];
  std::int32_t is_finite[kSampleCtas];
  unsigned n_done;
};

struct GreedyParams {
  const float* logits = nullptr;  // (vocab)
  std::int64_t vocab = 0;
  bool round_to_bf16 = false;  // before comparing
  SampleScratch* scratch = nullptr;
  Sampled* sampled = nullptr;
};

cudaError_t launch_greedy(const GreedyParams& params, cudaStream_t stream);

}  // namespace sala::cuda
