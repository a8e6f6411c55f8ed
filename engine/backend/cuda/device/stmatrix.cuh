// Stores of 8x8 bf16 matrices from fragments to shared memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "engine/backend/cuda/device/shared_address.cuh"

namespace sala::cuda {

/// Four matrices; lane l points at row l % 8 of matrix l / 8, 16 bytes, 16-byte aligned. From
/// Hopper on.
__device__ __forceinline__ void stmatrix_x4(__nv_bfloat16* row, const std::uint32_t (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};"
               :
               : "r"(shared_address(row)), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}

}  // namespace sala::cuda
