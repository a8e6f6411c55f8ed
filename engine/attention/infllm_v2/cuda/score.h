// Launchers that score key blocks for block-sparse attention on the GPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include "engine/attention/infllm_v2/cuda/cache.h"
#include "engine/backend/cuda/cost.h"

namespace sala::cuda::infllm_v2 {

/// Rows at `start` on, all of which must be ranked: more than n_selected blocks lie behind them.
struct ScoreParams {
  const __nv_bfloat16* q = nullptr;  // (n_tokens, n_kv_heads * group * head_dim)
  Cache cache;
  Shape shape;
  /// (n_tokens, n_kv_heads, score_stride): scores of blocks 0 ... candidates_end - 1, then zeros to
  /// the next multiple of 8; not negative, and finite.
  __nv_bfloat16* scores = nullptr;
  std::int64_t score_stride = 0;  // a multiple of 8
  std::int64_t start = 0;
  std::int64_t n_tokens = 0;
  bool exact_lse = false;  // normaliser over k1 instead of k2
  bool hopper = false;     // by the body for Hopper, which the GPU must be

  /// Windows that the normaliser of the row at t adds up.
  SALA_HOST_DEVICE constexpr std::int64_t n_basis(std::int64_t t) const {
    return n_windows(t + 1, exact_lse ? kStride : kBlock);
  }
};

/// The score of a block is the largest head sum of its five windows, rounded to bf16. A row's
/// arithmetic does not depend on which other rows are scored with it.
cudaError_t launch_score(const ScoreParams& params, cudaStream_t stream);
/// Its body for Hopper; only launch_score() calls it.
cudaError_t launch_score_hopper(const ScoreParams& params, cudaStream_t stream);
Cost score_cost(const ScoreParams& params);

/// One token, at the position that the device knows; nothing happens while it is below
/// ranked_begin.
struct ScoreStepParams {
  ScoreParams row;  // start is ignored, n_tokens is 1
  const std::int32_t* position = nullptr;
  std::int64_t ranked_begin = kNever;
  float2* partials = nullptr;  // score_step_workspace_bytes()
};

/// The same scores as launch_score(), up to the rounding of sums. Two launches whose grids fit the
/// capacity of the cache.
cudaError_t launch_score_step(const ScoreStepParams& params, cudaStream_t stream);
/// At position t.
Cost score_step_cost(const ScoreStepParams& params, std::int64_t t);
std::int64_t score_step_workspace_bytes(const Shape& shape, std::int64_t capacity, bool exact_lse);

}  // namespace sala::cuda::infllm_v2
