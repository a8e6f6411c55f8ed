// Launcher that extends a key-value cache on the GPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/backend/cuda/cost.h"

namespace sala::cuda::dense {

/// Pointers are device memory, 16-byte aligned.
struct AppendParams {
  const __nv_bfloat16* k = nullptr;  // (n_tokens, n_kv_heads * head_dim)
  const __nv_bfloat16* v = nullptr;
  __nv_bfloat16* k_cache = nullptr;  // (n_kv_heads, capacity, head_dim)
  __nv_bfloat16* v_cache = nullptr;
  std::int64_t capacity = 0;
  std::int64_t start = 0;                  // position of the first token
  const std::int32_t* position = nullptr;  // device memory; when set, it replaces start
  std::int64_t n_tokens = 0;
  int n_kv_heads = 0;
  int head_dim = 0;  // a multiple of 8
};

cudaError_t launch_append(const AppendParams& params, cudaStream_t stream);

Cost append_cost(const AppendParams& params);

}  // namespace sala::cuda::dense
