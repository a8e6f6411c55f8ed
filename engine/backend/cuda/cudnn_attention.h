// Softmax attention of many query tokens through cuDNN.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <optional>
#include <string>

#include "engine/backend/cuda/cudnn_library.h"

namespace sala {

/// Sizes that a plan is made for.
struct CudnnAttentionShape {
  int n_heads = 0;
  int n_kv_heads = 0;
  int head_dim = 0;
  std::int64_t capacity = 0;  // tokens between one KV head's first and the next one's
  bool operator==(const CudnnAttentionShape&) const = default;
};

/// Causal attention: row i of n sees keys 0 ... n_keys - n + i. One plan with room for kRows query
/// rows and `capacity` keys; the true numbers are read at run time from device memory.
class CudnnAttention {
 public:
  /// Rows of one run at most; a longer call is cut.
  static constexpr std::int64_t kRows = 8192;

  /// Builds the plan: some 0.4 s, so never inside a timed region. When cuDNN is missing or refuses,
  /// available() is false and reason() says why; nothing is thrown.
  explicit CudnnAttention(const CudnnAttentionShape& shape);

  bool available() const { return plan_.has_value(); }
  const std::string& reason() const { return reason_; }
  const CudnnAttentionShape& shape() const { return shape_; }

  /// Device memory of a run.
  struct Call {
    const __nv_bfloat16* q = nullptr;  // (kRows, n_heads * head_dim): the library may touch all
    const __nv_bfloat16* k = nullptr;  // (n_kv_heads, capacity, head_dim)
    const __nv_bfloat16* v = nullptr;  // the same shape; finite behind n_keys too
    __nv_bfloat16* out = nullptr;      // (kRows, n_heads * head_dim); not q
    std::int64_t n_rows = 0;           // those that mean something, at most kRows
    std::int64_t n_keys = 0;
    float scale = 1.0F;
    void* workspace = nullptr;  // workspace_bytes()
  };
  std::int64_t workspace_bytes() const;
  /// Throws Error when the library fails.
  void run(const Call& call, cudaStream_t stream) const;

 private:
  CudnnAttentionShape shape_;
  std::string reason_;
  std::optional<CudnnDescriptor> plan_;
  std::int64_t plan_bytes_ = 0;
};

/// The plan of that shape, built when it is asked for first and kept as long as the process: all
/// layers of a model, and every later sequence of that capacity, use one.
const CudnnAttention& shared_cudnn_attention(const CudnnAttentionShape& shape);

}  // namespace sala
