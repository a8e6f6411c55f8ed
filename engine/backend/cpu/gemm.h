// fp32 matrix products by oneDNN, row-major.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace sala {

/// c (m, n) = a (m, k) · b (k, n) + beta * c, with row strides lda, ldb, ldc in elements.
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t lda,
          const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc);

/// c (m, n) = alpha * a (m, k) · bᵀ + beta * c with b (n, k), all contiguous.
void gemm_transposed(std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const float* a,
                     const float* b, float beta, float* c);

}  // namespace sala
