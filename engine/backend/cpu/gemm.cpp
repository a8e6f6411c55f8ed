// Calls dnnl_sgemm; in a parallel region, or under LibraryThreads(1), it runs on one thread.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/gemm.h"

#include <oneapi/dnnl/dnnl.h>

#include "engine/base/error.h"

namespace sala {

void gemm(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t lda,
          const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc) {
  const dnnl_status_t status = dnnl_sgemm('N', 'N', m, n, k, 1.0F, a, lda, b, ldb, beta, c, ldc);
  SALA_CHECK(status == dnnl_success, "sgemm takes every valid shape");
}

void gemm_transposed(std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const float* a,
                     const float* b, float beta, float* c) {
  const dnnl_status_t status = dnnl_sgemm('N', 'T', m, n, k, alpha, a, k, b, k, beta, c, n);
  SALA_CHECK(status == dnnl_success, "sgemm takes every valid shape");
}

}  // namespace sala
