// Launcher of rotary embedding, with the norm of every head before it, on the GPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/backend/cuda/cost.h"

namespace sala::cuda {

constexpr int kMaxRotaryPairs = 128;

struct RotaryParams {
  __nv_bfloat16* x = nullptr;             // (n_tokens, n_heads * head_dim), in place
  const __nv_bfloat16* weight = nullptr;  // (head_dim), norm of every head; null: no norm
  /// Device memory: position of the only token; null: first_position counts.
  const std::int32_t* position = nullptr;
  std::int64_t first_position = 0;
  std::int64_t n_tokens = 0;
  int n_heads = 0;
  int head_dim = 0;  // a multiple of 4, at most 2 * kMaxRotaryPairs
  float eps = 0;
  bool exact_angle = false;
  float magnitude = 1;                    // factor of every cosine and sine
  double inv_freq[kMaxRotaryPairs] = {};  // theta^(-2 i / head_dim)
  double slowdown[kMaxRotaryPairs] = {};  // of every pair, at least those of head_dim; 1: none
};

/// Pairs (i, i + head_dim / 2) turn by position / slowdown * frequency in fp32, rounded as the
/// reference rounds, or in fp64 with exact_angle. Returns cudaErrorInvalidValue for another
/// head_dim.
cudaError_t launch_rotary(const RotaryParams& params, cudaStream_t stream);

inline Cost rotary_cost(const RotaryParams& p) {
  return {0, 4.0 * static_cast<double>(p.n_tokens) * p.n_heads * p.head_dim};
}

}  // namespace sala::cuda
