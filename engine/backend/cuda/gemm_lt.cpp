// The library thinks column-major: our out = x · Wᵀ is its outᵀ = W · xᵀ, with W transposed as it
// is stored, the layout that its fastest routines take.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/gemm_lt.h"

#include <algorithm>
#include <array>

#include "engine/backend/cuda/cuda_error.h"
#include "engine/backend/cuda/fingerprint.h"
#include "engine/base/error.h"

namespace sala {
namespace {

constexpr int kCandidates = 16;
/// Calls of fewer rows are too unlike the long ones that are tuned.
constexpr std::int64_t kLeastRowsLikeTuned = 2048;

std::uint32_t alignment_of(std::uintptr_t address) {
  constexpr std::uintptr_t kMost = 256;
  return static_cast<std::uint32_t>(std::min(address & (~address + 1), kMost));
}

struct Event {
  Event() { SALA_CUDA(cudaEventCreate(&event)); }
  ~Event() { cudaEventDestroy(event); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  cudaEvent_t event = nullptr;
};

template <typename T>
void set_preference(cublasLtMatmulPreferenceOpaque_t& preference,
                    cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  SALA_CUBLAS(cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof(value)));
}

template <typename Key>
Key any_rows(Key key) {
  std::get<0>(key) = 0;
  return key;
}

}  // namespace

struct GemmLt::Call {
  TensorView x, weight, out;
  float alpha, beta;
};

GemmLt::GemmLt(void* workspace, cudaStream_t stream) : workspace_(workspace), stream_(stream) {
  SALA_CUBLAS(cublasLtCreate(&handle_));
  SALA_CUBLAS(cublasLtMatmulDescInit(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  const cublasOperation_t transposed = CUBLAS_OP_T;
  SALA_CUBLAS(cublasLtMatmulDescSetAttribute(&operation_, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                             sizeof(transposed)));
}

GemmLt::~GemmLt() {
  cublasLtDestroy(handle_);
}

void GemmLt::run(TensorView x, TensorView weight, float alpha, float beta, TensorView out) {
  SALA_CHECK(x.cols == weight.cols && out.rows == x.rows && out.cols == weight.rows,
             "shapes of a product agree");
  SALA_CHECK(x.dtype == DType::bf16 && weight.dtype == DType::bf16, "operands are bf16");
  const Call call{x, weight, out, alpha, beta};
  Plan& plan = plan_for(call);
  SALA_CUBLAS(launch(call, plan, plan.algorithm));
}

cublasStatus_t GemmLt::launch(const Call& call, Plan& plan, const cublasLtMatmulAlgo_t& algorithm) {
  return cublasLtMatmul(handle_, &operation_, &call.alpha, call.weight.data, &plan.weight,
                        call.x.data, &plan.x, &call.beta, call.out.data, &plan.out, call.out.data,
                        &plan.out, &algorithm, workspace_,
                        static_cast<std::size_t>(kWorkspaceBytes), stream_);
}

GemmLt::Plan& GemmLt::plan_for(const Call& call) {
  const std::uint32_t alignment =
      std::min({alignment_of(reinterpret_cast<std::uintptr_t>(call.x.data)),
                alignment_of(reinterpret_cast<std::uintptr_t>(call.weight.data)),
                alignment_of(reinterpret_cast<std::uintptr_t>(call.out.data))});
  const Key key{call.x.rows,    call.x.cols,    call.weight.rows,
                call.out.dtype, call.beta == 0, alignment};
  if (const auto found = plans_.find(key); found != plans_.end()) return found->second;

  Plan plan;
  const auto layout = [](cublasLtMatrixLayoutOpaque_t& to, TensorView view) {
    const cudaDataType_t type = view.dtype == DType::f32 ? CUDA_R_32F : CUDA_R_16BF;
    SALA_CUBLAS(cublasLtMatrixLayoutInit(&to, type, static_cast<std::uint64_t>(view.cols),
                                         static_cast<std::uint64_t>(view.rows), view.cols));
  };
  layout(plan.x, call.x);
  layout(plan.weight, call.weight);
  layout(plan.out, call.out);

  if (!is_tuning_) {
    if (const auto algorithm = tuned(key, plan)) {
      plan.algorithm = *algorithm;
      return plans_.emplace(key, plan).first->second;
    }
  }
  cublasLtMatmulPreferenceOpaque_t preference;
  SALA_CUBLAS(cublasLtMatmulPreferenceInit(&preference));
  set_preference(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                 static_cast<std::uint64_t>(kWorkspaceBytes));
  // The residual stream is added to in place: partial sums must not go through it.
  set_preference(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                 static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    set_preference(preference, attribute, alignment);
  }
  std::array<cublasLtMatmulHeuristicResult_t, kCandidates> candidates;
  int n = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      handle_, &operation_, &plan.weight, &plan.x, &plan.out, &plan.out, &preference,
      is_tuning_ ? kCandidates : 1, candidates.data(), &n);
  if (status == CUBLAS_STATUS_SUCCESS && is_tuning_) {
    n = keep_agreeing(call, plan, candidates.data(), n);
  }
  if (status != CUBLAS_STATUS_SUCCESS || n == 0) {
    throw Error("cuBLASLt", "has no routine for a product of {} rows, {} inputs, {} outputs ({})",
                call.x.rows, call.x.cols, call.weight.rows, cublasLtGetStatusName(status));
  }
  plan.algorithm = is_tuning_ ? fastest(call, plan, candidates.data(), n) : candidates.front().algo;
  if (is_tuning_) tuned_.insert_or_assign(any_rows(key), plan.algorithm);
  return plans_.emplace(key, plan).first->second;
}

std::optional<cublasLtMatmulAlgo_t> GemmLt::tuned(const Key& key, Plan& plan) {
  if (std::get<0>(key) < kLeastRowsLikeTuned) return std::nullopt;
  const auto found = tuned_.find(any_rows(key));
  if (found == tuned_.end()) return std::nullopt;
  cublasLtMatmulHeuristicResult_t result;
  const cublasStatus_t status = cublasLtMatmulAlgoCheck(
      handle_, &operation_, &plan.weight, &plan.x, &plan.out, &plan.out, &found->second, &result);
  if (status != CUBLAS_STATUS_SUCCESS ||
      result.workspaceSize > static_cast<std::size_t>(kWorkspaceBytes)) {
    return std::nullopt;
  }
  return found->second;
}

/// Timing chooses between near equals, so it may only choose between routines that add in the same
/// order: those of the result that most candidates agree on (the library's earlier one on a tie).
int GemmLt::keep_agreeing(const Call& call, Plan& plan, cublasLtMatmulHeuristicResult_t* candidates,
                          int n) {
  Call alone = call;
  alone.beta = 0;  // what is there already would change from run to run
  std::array<std::optional<unsigned long long>, kCandidates> results;
  const std::int64_t words = call.out.bytes() / static_cast<std::int64_t>(sizeof(std::uint32_t));
  for (int i = 0; i < n; ++i) {
    // A routine that refuses is no candidate.
    if (launch(alone, plan, candidates[i].algo) != CUBLAS_STATUS_SUCCESS) continue;
    // The product has finished with its workspace by then.
    auto* sum = static_cast<unsigned long long*>(workspace_);
    SALA_CUDA(cuda::launch_fingerprint(call.out.data, words, sum, stream_));
    unsigned long long result = 0;
    SALA_CUDA(cudaMemcpyAsync(&result, sum, sizeof(result), cudaMemcpyDeviceToHost, stream_));
    SALA_CUDA(cudaStreamSynchronize(stream_));
    results[static_cast<std::size_t>(i)] = result;
  }
  const auto end = results.begin() + n;
  const auto votes = [&](const auto& result) {
    return result ? std::count(results.begin(), end, result) : 0;
  };
  const auto agreed = *std::max_element(
      results.begin(), end, [&](const auto& a, const auto& b) { return votes(a) < votes(b); });
  int kept = 0;
  for (int i = 0; agreed && i < n; ++i) {
    if (results[static_cast<std::size_t>(i)] == agreed) candidates[kept++] = candidates[i];
  }
  return kept;
}

/// The first candidate, in the library's order, that is within a hundredth of the best: noise
/// should not choose between equals. Candidates take turns, and their first turns do not count: a
/// GPU that has run for a while favours other routines than a cool one.
cublasLtMatmulAlgo_t GemmLt::fastest(const Call& call, Plan& plan,
                                     const cublasLtMatmulHeuristicResult_t* candidates, int n) {
  constexpr int kTurns = 6;
  constexpr int kTurnsBefore = 2;
  constexpr float kTurnMs = 5.0F;
  constexpr int kMostRuns = 50;
  constexpr float kEqual = 1.01F;
  const Event begin;
  const Event end;
  std::array<float, kCandidates> times = {};
  std::array<int, kCandidates> runs;
  runs.fill(1);
  for (int turn = 0; turn < kTurns; ++turn) {
    for (int i = 0; i < n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      SALA_CUDA(cudaEventRecord(begin.event, stream_));
      for (int k = 0; k < runs[at]; ++k) {
        SALA_CUBLAS(launch(call, plan, candidates[i].algo));
      }
      SALA_CUDA(cudaEventRecord(end.event, stream_));
      SALA_CUDA(cudaEventSynchronize(end.event));
      float ms = 0;
      SALA_CUDA(cudaEventElapsedTime(&ms, begin.event, end.event));
      if (turn >= kTurnsBefore) times[at] += ms / static_cast<float>(runs[at]);
      // The very first run also loads the routine.
      if (turn < kTurnsBefore) {
        runs[at] = static_cast<int>(std::clamp(kTurnMs * static_cast<float>(runs[at]) / ms, 1.0F,
                                               static_cast<float>(kMostRuns)));
      }
    }
  }
  const float best = *std::min_element(times.begin(), times.begin() + n);
  const auto chosen = std::find_if(times.begin(), times.begin() + n,
                                   [&](float time) { return time <= best * kEqual; });
  return candidates[chosen - times.begin()].algo;
}

}  // namespace sala
