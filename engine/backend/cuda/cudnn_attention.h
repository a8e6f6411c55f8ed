// Softmax attention of many query tokens through cuDNN.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
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

/// One plan with room for kRows query rows and `capacity` keys; the true numbers are read at run
/// time from device memory.
class CudnnAttention {
 public:
  enum class Form : std::uint8_t {
    causal,     // row i of n sees keys 0 ... n_keys - n + i
    rectangle,  // every row sees all keys; the logarithms of the sums come out, for a merge
  };
  /// Rows of one run at most; a longer call is cut. A rectangle is short, since what remains of a
  /// call, its triangles, is left to another kernel.
  static constexpr std::int64_t max_rows(Form form) { return form == Form::causal ? 8192 : 2048; }

  /// Builds the plan: some 0.4 s, so never inside a timed region. When cuDNN is missing or refuses,
  /// available() is false and reason() says why; nothing is thrown.
  CudnnAttention(const CudnnAttentionShape& shape, Form form);
  ~CudnnAttention();
  CudnnAttention(const CudnnAttention&) = delete;
  CudnnAttention& operator=(const CudnnAttention&) = delete;

  bool available() const { return plan_ != nullptr; }
  const std::string& reason() const { return reason_; }
  Form form() const { return form_; }

  /// Device memory of a run.
  struct Call {
    const __nv_bfloat16* q = nullptr;  // (n_rows, n_heads * head_dim)
    const __nv_bfloat16* k = nullptr;  // (n_kv_heads, capacity, head_dim)
    const __nv_bfloat16* v = nullptr;
    __nv_bfloat16* out = nullptr;  // (n_rows, n_heads * head_dim); not q
    float* lse = nullptr;          // (n_heads, max_rows), of a rectangle; natural logarithms
    std::int64_t n_rows = 0;       // at most max_rows(form())
    std::int64_t n_keys = 0;
    float scale = 1.0F;
    void* workspace = nullptr;  // workspace_bytes()
  };
  std::int64_t workspace_bytes() const;
  /// Throws Error when the library fails.
  void run(const Call& call, cudaStream_t stream) const;

 private:
  struct Plan;

  Form form_;
  std::string reason_;
  std::unique_ptr<Plan> plan_;
};

/// The plan of that shape and form, built when it is asked for first and kept as long as the
/// process: all layers of a model, and every later sequence of that capacity, use one.
const CudnnAttention& shared_cudnn_attention(const CudnnAttentionShape& shape,
                                             CudnnAttention::Form form);

}  // namespace sala
