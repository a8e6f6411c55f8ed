// Device memory of one sequence in a block-sparse layer.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>

#include "engine/attention/infllm_v2/cuda/layout.h"

namespace sala::cuda::infllm_v2 {

/// Keys, values and their means of one sequence: rows of head_dim, each (n_kv_heads, capacity).
struct Cache {
  __nv_bfloat16* k = nullptr;
  __nv_bfloat16* v = nullptr;
  __nv_bfloat16* k1 = nullptr;  // means of 32 keys, every 16
  __nv_bfloat16* k2 = nullptr;  // means of 128 keys, every 64
  std::int64_t capacity = 0;    // tokens, a multiple of kBlock
  SALA_HOST_DEVICE constexpr std::int64_t k1_capacity() const { return capacity / kStride; }
  SALA_HOST_DEVICE constexpr std::int64_t k2_capacity() const { return capacity / kBlock; }
};

}  // namespace sala::cuda::infllm_v2
