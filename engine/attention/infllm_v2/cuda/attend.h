// Launchers of softmax attention over chosen key blocks on the GPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include "engine/attention/infllm_v2/cuda/cache.h"
#include "engine/backend/cuda/cost.h"

namespace sala::cuda::infllm_v2 {

/// Rows at `start` on; the cache holds their keys and values already. Rows from ranked_begin on
/// read the blocks of their mask, others all up to their own.
struct AttendParams {
  const __nv_bfloat16* q = nullptr;  // (n_tokens, n_kv_heads * group * head_dim)
  __nv_bfloat16* out = nullptr;      // the same shape; may be q
  Cache cache;
  Shape shape;
  const std::uint32_t* masks = nullptr;  // as launch_select() writes them, of all rows
  std::int64_t mask_stride = 0;
  std::int64_t start = 0;
  std::int64_t n_tokens = 0;
  std::int64_t ranked_begin = kNever;
  bool hopper = false;  // by the body for Hopper, which the GPU must be
};

/// A row's bits do not depend on which others are in the call. Blocks that several rows of a tile
/// read are copied once.
cudaError_t launch_attend(const AttendParams& params, cudaStream_t stream);
/// Its body for Hopper, the same bits; only launch_attend() calls it.
cudaError_t launch_attend_hopper(const AttendParams& params, cudaStream_t stream);
Cost attend_cost(const AttendParams& params);

/// One token, at the position that the device knows.
struct AttendStepParams {
  AttendParams row;  // start is ignored, n_tokens is 1
  const std::int32_t* position = nullptr;
  float* partials = nullptr;  // attend_step_workspace_bytes()
};

/// Slices of the row's list side by side, then their sum: two launches.
cudaError_t launch_attend_step(const AttendStepParams& params, cudaStream_t stream);
/// At position t.
Cost attend_step_cost(const AttendStepParams& params, std::int64_t t);
std::int64_t attend_step_workspace_bytes(const Shape& shape);

}  // namespace sala::cuda::infllm_v2
