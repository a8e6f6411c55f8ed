// Descriptions of matrices in device memory by which the tensor copy engine copies boxes of them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace sala::cuda {

/// A matrix of bf16, rows one behind the other.
struct Matrix {
  const __nv_bfloat16* data = nullptr;
  std::int64_t rows = 0;  // those beyond count as zeros
  std::int64_t cols = 0;
};
/// Several matrices of the size of `first`, whose rows may lie further apart; strides in elements.
struct MatrixStack {
  Matrix first;
  std::int64_t row_stride = 0;
  std::int64_t count = 0;
  std::int64_t stride = 0;
};
/// Several stacks of the size of `first`.
struct MatrixStacks {
  MatrixStack first;
  std::int64_t count = 0;
  std::int64_t stride = 0;
};

/// Map by which boxes of box_rows rows and 64 columns are copied as panels (wgmma_operand.h).
/// Needs a driver that knows tensor maps: cudaErrorNotSupported otherwise.
cudaError_t make_tensor_map(CUtensorMap& map, const Matrix& matrix, int box_rows);
/// The same for boxes of one matrix of a stack.
cudaError_t make_tensor_map(CUtensorMap& map, const MatrixStack& stack, int box_rows);
/// The same for boxes of box_matrices neighbours within a stack; those beyond it count as zeros.
cudaError_t make_tensor_map(CUtensorMap& map, const MatrixStacks& stacks, int box_rows,
                            int box_matrices);

}  // namespace sala::cuda
