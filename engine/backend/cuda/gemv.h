// Launcher of products of one row with stored weights on the GPU: what decoding spends its time on.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/backend/cuda/cost.h"

namespace sala::cuda {

constexpr int kMaxGemvParts = 4;

/// One weight of several that share the row.
struct GemvPart {
  const __nv_bfloat16* weight = nullptr;  // (rows, in)
  void* out = nullptr;                    // (rows), bf16 or fp32
  std::int64_t rows = 0;
  bool is_fp32 = false;
};

enum class GemvEnd {
  store,  // out = w · x
  add,    // out = out + scale * w · x
  gate,   // out = silu(w0 · x) * w1 · x for parts 0 and 1 of equal rows, into the out of part 0
};

struct GemvParams {
  const __nv_bfloat16* x = nullptr;  // (in)
  std::int64_t in = 0;               // see gemv_takes()
  GemvPart parts[kMaxGemvParts];
  int n_parts = 0;
  GemvEnd end = GemvEnd::store;
  float scale = 1;  // of GemvEnd::add
};

/// Rows must be whole 16-byte vectors, and x must fit into shared memory.
constexpr bool gemv_takes(std::int64_t in) {
  constexpr std::int64_t kMost = 24 * 1024 - 1024;
  return in % 8 == 0 && in > 0 && in <= kMost;
}

/// fp32 sums in an order that depends on `in` alone. Weights and x are 16-byte aligned. Returns
/// cudaErrorInvalidValue for what gemv_takes() refuses.
cudaError_t launch_gemv(const GemvParams& params, cudaStream_t stream);

/// Weights dominate.
Cost gemv_cost(const GemvParams& params);

}  // namespace sala::cuda
