// Loads of 8x8 bf16 matrices from shared memory in fragment order.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "engine/backend/cuda/device/shared_address.cuh"

namespace sala::cuda {

/// Four matrices; lane l points at row l % 8 of matrix l / 8, 16 bytes, 16-byte aligned. row: a
/// shared_address().
__device__ __forceinline__ void ldmatrix_x4(std::uint32_t (&r)[4], std::uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4(std::uint32_t (&r)[4], const __nv_bfloat16* row) {
  ldmatrix_x4(r, shared_address(row));
}

/// The same with every matrix transposed.
__device__ __forceinline__ void ldmatrix_x4_transposed(std::uint32_t (&r)[4], std::uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_transposed(std::uint32_t (&r)[4],
                                                       const __nv_bfloat16* row) {
  ldmatrix_x4_transposed(r, shared_address(row));
}

}  // namespace sala::cuda
