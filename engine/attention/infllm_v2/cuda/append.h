// Launcher that extends the cache of block-sparse attention on the GPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include "engine/attention/infllm_v2/cuda/cache.h"
#include "engine/backend/cuda/cost.h"

namespace sala::cuda::infllm_v2 {

struct AppendParams {
  const __nv_bfloat16* k = nullptr;  // (n_tokens, n_kv_heads * head_dim)
  const __nv_bfloat16* v = nullptr;
  Cache cache;
  Shape shape;
  std::int64_t start = 0;  // position of the first token
  std::int64_t n_tokens = 0;
  /// Device memory; when set, it replaces start, and n_tokens is 1.
  const std::int32_t* position = nullptr;
};

/// Writes k and v behind the cache and the means of every window that the new tokens complete. A
/// mean adds keys to sums of 16, then these, in index order: its bits do not depend on how the
/// tokens arrive.
cudaError_t launch_append(const AppendParams& params, cudaStream_t stream);
Cost append_cost(const AppendParams& params);

}  // namespace sala::cuda::infllm_v2
