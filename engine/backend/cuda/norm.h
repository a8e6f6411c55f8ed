// Launcher of RMS norm on the GPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/backend/cuda/cost.h"

namespace sala::cuda {

struct RmsNormParams {
  const __nv_bfloat16* x = nullptr;       // (rows, cols)
  const __nv_bfloat16* weight = nullptr;  // (cols)
  __nv_bfloat16* out = nullptr;           // (rows, cols); may be x
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  float eps = 0;
};

/// out = bf16(bf16(x / sqrt(mean(x^2) + eps)) * weight), fp32 inside: the reference's roundings.
cudaError_t launch_rms_norm(const RmsNormParams& params, cudaStream_t stream);

inline Cost rms_norm_cost(const RmsNormParams& params) {
  return {0, 4.0 * static_cast<double>(params.rows) * static_cast<double>(params.cols)};
}

}  // namespace sala::cuda
