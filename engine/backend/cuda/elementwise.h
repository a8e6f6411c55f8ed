// Launchers of element-wise work, table look-up and single values on the GPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/backend/cuda/cost.h"

namespace sala::cuda {

/// out = silu(gate) * up, fp32 inside; out may be either.
cudaError_t launch_silu_mul(const __nv_bfloat16* gate, const __nv_bfloat16* up, __nv_bfloat16* out,
                            std::int64_t n, cudaStream_t stream);
/// out = out * sigmoid(gate).
cudaError_t launch_sigmoid_mul(const __nv_bfloat16* gate, __nv_bfloat16* out, std::int64_t n,
                               cudaStream_t stream);
cudaError_t launch_scale(__nv_bfloat16* x, float scale, std::int64_t n, cudaStream_t stream);

/// Both read two operands and write one.
inline Cost gated_cost(std::int64_t n) {
  return {0, 6.0 * static_cast<double>(n)};
}

struct EmbedParams {
  const __nv_bfloat16* table = nullptr;  // (vocab, cols)
  const std::int32_t* ids = nullptr;     // (rows), device memory, inside the vocabulary
  __nv_bfloat16* out = nullptr;          // (rows, cols)
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  float scale = 1;
};
cudaError_t launch_embed(const EmbedParams& params, cudaStream_t stream);

/// x[i] = bf16(uniform_value(first_index + i, half_width)).
cudaError_t launch_fill_uniform(__nv_bfloat16* x, std::uint64_t first_index, float half_width,
                                std::int64_t n, cudaStream_t stream);

/// *to = value + (is_increment ? *to : 0), on the device.
cudaError_t launch_set(std::int32_t* to, std::int32_t value, bool is_increment,
                       cudaStream_t stream);

/// An error when this build has no code that the current GPU can run.
cudaError_t probe_code();

}  // namespace sala::cuda
