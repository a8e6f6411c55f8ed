// A view of a row-major matrix and the dtypes it may have.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace sala {

enum class DType : std::uint8_t { f32, bf16, f16 };

constexpr std::int64_t dtype_bytes(DType dtype) {
  return dtype == DType::f32 ? 4 : 2;
}
const char* dtype_name(DType dtype);

/// A (rows, cols) matrix, row-major and contiguous, that somebody else owns. Vectors have one row.
/// A (n_tokens, n_heads, head_dim) tensor is seen as (n_tokens, n_heads * head_dim).
struct TensorView {
  void* data = nullptr;
  DType dtype = DType::f32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;

  float* f32() const { return static_cast<float*>(data); }
  std::int64_t size() const { return rows * cols; }
  std::int64_t bytes() const { return size() * dtype_bytes(dtype); }

  /// Rows [first, first + count) of this matrix.
  TensorView row_range(std::int64_t first, std::int64_t count) const {
    return {static_cast<std::byte*>(data) + first * cols * dtype_bytes(dtype), dtype, count, cols};
  }
  /// The same elements seen with another row length; new_cols must divide size().
  TensorView reshaped(std::int64_t new_cols) const {
    return {data, dtype, size() / new_cols, new_cols};
  }
};

}  // namespace sala
