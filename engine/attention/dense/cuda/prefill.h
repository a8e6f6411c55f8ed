// Launcher of causal softmax attention over many query tokens on the GPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/backend/cuda/cost.h"

namespace sala::cuda::dense {

/// Query tokens [start, start + n_tokens); token t sees keys [0, t]. Pointers are device
/// memory, 16-byte aligned.
struct PrefillParams {
  const __nv_bfloat16* q = nullptr;  // (n_tokens, n_heads * head_dim)
  const __nv_bfloat16* k = nullptr;  // (n_kv_heads, capacity, head_dim), holding all keys up to
  const __nv_bfloat16* v = nullptr;  //   the last token's
  std::int64_t capacity = 0;
  __nv_bfloat16* out = nullptr;  // (n_tokens, n_heads * head_dim); may be q
  std::int64_t start = 0;        // tokens before this call
  std::int64_t n_tokens = 0;
  int n_heads = 0;
  int n_kv_heads = 0;
  int head_dim = 0;  // 64 or 128
  float scale = 1.0F;
};

/// Tiles of 128 queries by 64 keys with the online softmax. Tiles start at multiples counted from
/// token 0, so a row's bits do not depend on how a prompt is cut. Returns cudaErrorInvalidValue for
/// another head_dim.
cudaError_t launch_prefill(const PrefillParams& params, cudaStream_t stream);

/// Products over visible pairs; q, out and the visible keys and values once.
Cost prefill_cost(const PrefillParams& params);

}  // namespace sala::cuda::dense
