// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/tensor_map.h"

#include "engine/backend/cuda/device/wgmma_operand.h"

namespace sala::cuda {
namespace {

using EncodeTiled = decltype(&cuTensorMapEncodeTiled);

/// The driver's function that makes maps, or null: programs link the runtime alone.
EncodeTiled encode_tiled() {
  static const auto function = []() -> EncodeTiled {
    constexpr unsigned kSince = 12000;
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
    const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found,
                                                               kSince, cudaEnableDefault, &result);
    if (error != cudaSuccess || result != cudaDriverEntryPointSuccess) return nullptr;
    return reinterpret_cast<EncodeTiled>(found);
  }();
  return function;
}

/// sizes: elements, the innermost dimension first; strides: elements, without the innermost.
template <std::size_t kRank>
cudaError_t encode(CUtensorMap& map, const __nv_bfloat16* data, const std::int64_t (&sizes)[kRank],
                   const std::int64_t (&strides)[kRank - 1], const int (&box)[kRank]) {
  const EncodeTiled function = encode_tiled();
  if (function == nullptr) return cudaErrorNotSupported;
  cuuint64_t size[kRank];
  cuuint64_t stride_bytes[kRank - 1];
  cuuint32_t box_size[kRank];
  cuuint32_t every[kRank];
  for (std::size_t i = 0; i < kRank; ++i) {
    size[i] = static_cast<cuuint64_t>(sizes[i]);
    box_size[i] = static_cast<cuuint32_t>(box[i]);
    every[i] = 1;
    if (i > 0) stride_bytes[i - 1] = static_cast<cuuint64_t>(strides[i - 1]) * sizeof(*data);
  }
  const CUresult result = function(
      &map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, kRank, const_cast<__nv_bfloat16*>(data), size,
      stride_bytes, box_size, every, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
      CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace

cudaError_t make_tensor_map(CUtensorMap& map, const Matrix& matrix, int box_rows) {
  return encode<2>(map, matrix.data, {matrix.cols, matrix.rows}, {matrix.cols},
                   {kPanelCols, box_rows});
}

cudaError_t make_tensor_map(CUtensorMap& map, const MatrixStack& stack, int box_rows) {
  return encode<3>(map, stack.first.data, {stack.first.cols, stack.first.rows, stack.count},
                   {stack.row_stride, stack.stride}, {kPanelCols, box_rows, 1});
}

cudaError_t make_tensor_map(CUtensorMap& map, const MatrixStacks& stacks, int box_rows,
                            int box_matrices) {
  const MatrixStack& stack = stacks.first;
  return encode<4>(
      map, stack.first.data, {stack.first.cols, stack.first.rows, stack.count, stacks.count},
      {stack.row_stride, stack.stride, stacks.stride}, {kPanelCols, box_rows, box_matrices, 1});
}

}  // namespace sala::cuda
