// Launcher of the gated product of an MLP in one kernel, for Hopper.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/backend/cuda/cost.h"

namespace sala::cuda {

/// out = silu(x · gateᵀ) * (x · upᵀ), rounded once. Everything is 16-byte aligned.
struct SwigluProductParams {
  const __nv_bfloat16* x = nullptr;     // (rows, in)
  const __nv_bfloat16* gate = nullptr;  // (cols, in)
  const __nv_bfloat16* up = nullptr;    // (cols, in)
  __nv_bfloat16* out = nullptr;         // (rows, cols), apart from all of the above
  std::int64_t rows = 0;
  std::int64_t in = 0;
  std::int64_t cols = 0;
};

/// Shapes of weights that the kernel takes, with any number of rows of x.
constexpr bool swiglu_product_takes(std::int64_t in, std::int64_t cols) {
  return in > 0 && in % 64 == 0 && cols > 0 && cols % 128 == 0;
}

/// Same bits for a row whatever the other rows are.
cudaError_t launch_swiglu_product(const SwigluProductParams& params, cudaStream_t stream);

inline Cost swiglu_product_cost(const SwigluProductParams& p) {
  const auto rows = static_cast<double>(p.rows);
  const auto in = static_cast<double>(p.in);
  const auto cols = static_cast<double>(p.cols);
  return {4 * rows * in * cols, 2 * (rows * in + 2 * cols * in + rows * cols)};
}

}  // namespace sala::cuda
