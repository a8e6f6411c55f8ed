// Launcher of linear attention over many tokens on the GPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/backend/cuda/cost.h"

namespace sala::cuda::lightning {

/// One call over tokens [start, start + n_tokens). Pointers are device memory, 16-byte aligned.
struct PrefillParams {
  const __nv_bfloat16* q = nullptr;  // (n_tokens, n_heads * head_dim)
  const __nv_bfloat16* k = nullptr;  // (n_tokens, n_kv_heads * head_dim)
  const __nv_bfloat16* v = nullptr;
  __nv_bfloat16* out = nullptr;       // (n_tokens, n_heads * head_dim); may be q
  float* state = nullptr;             // (n_heads, head_dim of k, head_dim of v); carried on
  void* workspace = nullptr;          // prefill_workspace_bytes()
  const float* slope_log2 = nullptr;  // (n_heads): decay rate times log2(e)
  std::int64_t start = 0;             // tokens before this call
  std::int64_t n_tokens = 0;
  int n_heads = 0;
  int n_kv_heads = 0;
  int head_dim = 0;  // 64 or 128
  float scale = 1.0F;
};

/// Chunk form of the README in three launches: the state of every segment but the last, from zero;
/// the true state before every segment; all outputs and the state after the call. Fast-fading heads
/// read only the tokens that their segment's state still remembers, so the first launch costs about
/// half a pass over k and v. Returns cudaErrorInvalidValue for another head_dim.
cudaError_t launch_prefill(const PrefillParams& params, cudaStream_t stream);

/// Products as the tiles compute them, least traffic: q, k, v once, out once, state twice.
Cost prefill_cost(const PrefillParams& params);

/// One state a segment and head; calls of at most n_tokens, wherever they start.
std::int64_t prefill_workspace_bytes(std::int64_t n_tokens, int n_heads, int head_dim);

}  // namespace sala::cuda::lightning
