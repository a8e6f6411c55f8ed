// Launcher of softmax attention for one token over a cache on the GPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/backend/cuda/cost.h"

namespace sala::cuda::dense {

constexpr int kMostGroup = 16;  // query heads of a KV head: the rows of a tensor-core tile

/// The token at `position`, whose key and value the cache holds already. Pointers are device
/// memory, 16-byte aligned.
struct StepParams {
  const __nv_bfloat16* q = nullptr;  // (n_heads, head_dim)
  const __nv_bfloat16* k = nullptr;  // (n_kv_heads, capacity, head_dim)
  const __nv_bfloat16* v = nullptr;
  std::int64_t capacity = 0;
  const std::int32_t* position = nullptr;  // device memory
  __nv_bfloat16* out = nullptr;            // (n_heads, head_dim); may be q
  float* partials = nullptr;               // step_workspace_bytes()
  int n_heads = 0;
  int n_kv_heads = 0;
  int head_dim = 0;  // 64 or 128
  float scale = 1.0F;
};

/// Slices of the keys side by side, then their sum in order: two launches that serve every position
/// below the capacity. How a row is cut depends on its length alone, so its bits do. Returns
/// cudaErrorInvalidValue for another head_dim or more than kMostGroup heads a KV head.
cudaError_t launch_step(const StepParams& params, cudaStream_t stream);

/// At position t.
Cost step_cost(const StepParams& params, std::int64_t t);

std::int64_t step_workspace_bytes(std::int64_t capacity, int n_heads, int n_kv_heads, int head_dim);

}  // namespace sala::cuda::dense
