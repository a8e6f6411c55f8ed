// Launcher of linear attention for one token on the GPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/backend/cuda/cost.h"

namespace sala::cuda::lightning {

/// One token, as its projections leave it. Pointers are device memory; state is 16-byte aligned.
struct StepParams {
  const __nv_bfloat16* q = nullptr;  // (n_heads, head_dim)
  const __nv_bfloat16* k = nullptr;  // (n_kv_heads, head_dim)
  const __nv_bfloat16* v = nullptr;
  const __nv_bfloat16* q_norm = nullptr;  // (head_dim), or null: no norm
  const __nv_bfloat16* k_norm = nullptr;
  float rms_norm_eps = 0.0F;
  bool rotates = false;
  bool exact_angle = false;                // angles in fp64; otherwise the model's fp32 product
  double inv_freq[64] = {};                // of pairs (i, i + head_dim / 2)
  const std::int32_t* position = nullptr;  // device memory
  __nv_bfloat16* out = nullptr;       // (n_heads, head_dim); not q, which other blocks still read
  float* state = nullptr;             // (n_heads, head_dim of k, head_dim of v); carried on
  const float* slope_log2 = nullptr;  // (n_heads): decay rate times log2(e)
  int n_heads = 0;
  int n_kv_heads = 0;
  int head_dim = 0;  // 64 or 128
  float scale = 1.0F;
};

/// Norms and rotates q and k, rounding where the prefill path rounds, then S = γ S + kᵀ v and
/// out = scale · q S. A block owns 32 columns of v of one head. Returns cudaErrorInvalidValue for
/// another head_dim.
cudaError_t launch_step(const StepParams& params, cudaStream_t stream);

Cost step_cost(const StepParams& params);

}  // namespace sala::cuda::lightning
