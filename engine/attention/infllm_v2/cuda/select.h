// Launcher that picks the best-scored key blocks of a row on the GPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include "engine/attention/infllm_v2/cuda/layout.h"
#include "engine/backend/cuda/cost.h"

namespace sala::cuda::infllm_v2 {

/// Rows at `start` on, all of which must be ranked (see ScoreParams).
struct SelectParams {
  const __nv_bfloat16* scores = nullptr;  // as launch_score() writes them
  std::int64_t score_stride = 0;
  Shape shape;
  /// (n_tokens, n_kv_heads, mask_stride): bit b % 32 of word b / 32 tells whether block b is read.
  /// Words behind mask_words(off) are not written.
  std::uint32_t* masks = nullptr;
  std::int64_t mask_stride = 0;
  std::int64_t start = 0;
  std::int64_t n_tokens = 0;
  /// Device memory; when set, it replaces start, n_tokens is 1, and nothing happens below
  /// ranked_begin.
  const std::int32_t* position = nullptr;
  std::int64_t ranked_begin = kNever;
};

/// Sets the bits of the first init_blocks blocks, of the current and the local_blocks before it,
/// and of the slots() best of the others; equal scores go to the lower block.
cudaError_t launch_select(const SelectParams& params, cudaStream_t stream);
Cost select_cost(const SelectParams& params);

}  // namespace sala::cuda::infllm_v2
