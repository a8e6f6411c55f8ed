// Products of many rows with stored weights through cuBLASLt, one remembered plan a shape.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <optional>
#include <tuple>

#include "engine/tensor/tensor.h"

namespace sala {

/// out = alpha * x · weightᵀ + beta * out with bf16 operands, fp32 sums, and bf16 or fp32 results.
/// Used from one thread and one stream. Same shape, device and library: same bits, in every
/// process.
class GemmLt {
 public:
  /// More pays only from Hopper on, but is harmless elsewhere.
  static constexpr std::int64_t kWorkspaceBytes = std::int64_t{32} << 20;

  /// workspace: kWorkspaceBytes of device memory, 256-byte aligned, that outlives this.
  GemmLt(void* workspace, cudaStream_t stream);
  ~GemmLt();
  GemmLt(const GemmLt&) = delete;
  GemmLt& operator=(const GemmLt&) = delete;

  /// x (rows, in), weight (out, in), out (rows, out). Throws Error when the library has no routine.
  void run(TensorView x, TensorView weight, float alpha, float beta, TensorView out);
  /// While on, a shape seen for the first time is timed with several routines on the operands of
  /// the call, which is repeated: what it adds to means nothing afterwards. Otherwise the routine
  /// is that of the tuned shape which differs in rows alone, or else the library's first answer.
  void set_tuning(bool on) { is_tuning_ = on; }

 private:
  struct Plan {
    cublasLtMatrixLayoutOpaque_t x, weight, out;
    cublasLtMatmulAlgo_t algorithm;
  };
  /// rows, in, out, dtype of out, whether beta is 0, least alignment of the operands.
  using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t, DType, bool, std::uint32_t>;
  struct Call;

  Plan& plan_for(const Call& call);
  cublasStatus_t launch(const Call& call, Plan& plan, const cublasLtMatmulAlgo_t& algorithm);
  /// The routine of a tuned shape, if there is one that also runs the call.
  std::optional<cublasLtMatmulAlgo_t> tuned(const Key& key, Plan& plan);
  /// Moves the candidates whose results agree bit for bit to the front and returns their number.
  int keep_agreeing(const Call& call, Plan& plan, cublasLtMatmulHeuristicResult_t* candidates,
                    int n);
  cublasLtMatmulAlgo_t fastest(const Call& call, Plan& plan,
                               const cublasLtMatmulHeuristicResult_t* candidates, int n);

  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulDescOpaque_t operation_;
  void* workspace_;
  cudaStream_t stream_;
  bool is_tuning_ = false;
  std::map<Key, Plan> plans_;
  std::map<Key, cublasLtMatmulAlgo_t> tuned_;  // the keys' rows are 0
};

}  // namespace sala
