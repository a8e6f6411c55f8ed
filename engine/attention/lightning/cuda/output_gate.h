// Launcher of the norm over all heads and the gate behind linear attention on the GPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/backend/cuda/cost.h"

namespace sala::cuda::lightning {

/// Pointers are device memory, 16-byte aligned.
struct OutputGateParams {
  const __nv_bfloat16* x = nullptr;     // (n_tokens, width)
  const __nv_bfloat16* gate = nullptr;  // (n_tokens, width), or null: no gate
  const __nv_bfloat16* norm = nullptr;  // (width), or null: no norm
  float rms_norm_eps = 0.0F;
  __nv_bfloat16* out = nullptr;  // (n_tokens, width); may be x or gate
  std::int64_t n_tokens = 0;
  std::int64_t width = 0;  // a multiple of 8, at most kWidestGate
};
constexpr std::int64_t kWidestGate = 16384;

/// out = RMS(x, norm) * sigmoid(gate): fp32 inside, one rounding; the squares of a row are added in
/// one fixed order. Returns cudaErrorInvalidValue for another width.
cudaError_t launch_output_gate(const OutputGateParams& params, cudaStream_t stream);

Cost output_gate_cost(const OutputGateParams& params);

}  // namespace sala::cuda::lightning
