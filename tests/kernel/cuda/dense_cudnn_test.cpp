// Attention through cuDNN against fp64 rows and the project's own kernel, above all its masks.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/cudnn_attention.h"

#include "tests/kernel/cuda/dense_fixture.h"

#if __has_include(<cudnn.h>)
#include <cudnn.h>
#endif

namespace sala::testing {
namespace {

#if __has_include(<cudnn.h>)
// The numbers that are written down are those of the header.
static_assert(static_cast<int>(cudnn::kEngineConfig) == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
static_assert(static_cast<int>(cudnn::kEngineHeuristics) == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
static_assert(static_cast<int>(cudnn::kExecutionPlan) == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
static_assert(static_cast<int>(cudnn::kOperationPointwise) ==
              CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
static_assert(static_cast<int>(cudnn::kOperationGraph) == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
static_assert(static_cast<int>(cudnn::kVariantPack) == CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
static_assert(static_cast<int>(cudnn::kTensor) == CUDNN_BACKEND_TENSOR_DESCRIPTOR);
static_assert(static_cast<int>(cudnn::kOperationMatmul) ==
              CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
static_assert(static_cast<int>(cudnn::kOperationReduction) ==
              CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
static_assert(static_cast<int>(cudnn::kTypeDescriptor) == CUDNN_TYPE_BACKEND_DESCRIPTOR);
static_assert(static_cast<int>(cudnn::kTensorIsByValue) == CUDNN_ATTR_TENSOR_IS_BY_VALUE);
static_assert(static_cast<int>(cudnn::kOperationMatmulKOverride) ==
              CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC);
static_assert(static_cast<int>(cudnn::kExecutionPlanWorkspaceSize) ==
              CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
static_assert(static_cast<int>(cudnn::kBinarySelect) == CUDNN_POINTWISE_BINARY_SELECT);
static_assert(static_cast<int>(cudnn::kBfloat16) == CUDNN_DATA_BFLOAT16);
#endif

class DenseCudnn : public DeviceTest {
 protected:
  const CudnnAttention& plan(const DenseSequence& s) {
    return shared_cudnn_attention({s.n_heads(), s.n_kv_heads(), s.head_dim(), s.capacity});
  }

  /// The library wants values to be finite throughout; the other buffers stay poisoned.
  static void clear_values(DenseSequence& s) {
    s.v_cache.upload(
        std::vector<Bf16Bits>(static_cast<std::size_t>(s.heads.kv_dim() * s.capacity)));
  }

  /// Rows [first, end) over all tokens before `end`.
  std::vector<float> run(const CudnnAttention& plan, DenseSequence& s, std::int64_t first,
                         std::int64_t end) {
    const std::int64_t width = s.heads.q_dim();
    std::vector<Bf16Bits> rows = DenseSequence::rows(s.q, width, first, end);
    rows.resize(static_cast<std::size_t>(CudnnAttention::kRows * width), Bf16Bits{0x7fc0});
    const DeviceBuffer<Bf16Bits> q(rows);
    DeviceBuffer<Bf16Bits> out(CudnnAttention::kRows * width);
    const DeviceBuffer<unsigned char> workspace(plan.workspace_bytes());
    plan.run({.q = bf16(q),
              .k = bf16(s.k_cache),
              .v = bf16(s.v_cache),
              .out = bf16(out),
              .n_rows = end - first,
              .n_keys = end,
              .scale = s.heads.scale,
              .workspace = workspace.data()},
             stream());
    out.expect_guards_intact();
    workspace.expect_guards_intact();
    std::vector<float> result = from_bf16(out.download());
    result.resize(static_cast<std::size_t>((end - first) * width));
    return result;
  }
};

#define SALA_NEEDS(plan) \
  if (!(plan).available()) GTEST_SKIP() << (plan).reason()

TEST_F(DenseCudnn, causal_rows_equal_the_reference) {
  for (const auto& [n_heads, n_kv_heads, head_dim] :
       {std::tuple{4, 1, 128}, {4, 4, 128}, {16, 1, 64}}) {
    DenseSequence s(head_options(n_heads, n_kv_heads, head_dim), 700, stream());
    clear_values(s);
    s.append(0, 700);
    const CudnnAttention& causal = plan(s);
    SALA_NEEDS(causal);
    for (const auto& [first, end] : {std::pair{0, 1},
                                     {0, 64},
                                     {0, 100},
                                     {0, 700},
                                     {699, 700},
                                     {37, 200},
                                     {600, 700},
                                     {128, 640}}) {
      SCOPED_TRACE(first * 1000 + end);
      expect_within(run(causal, s, first, end), s.expected_rows(first, end),
                    tolerance::kAttentionOutput);
    }
  }
}

TEST_F(DenseCudnn, a_later_key_moves_no_row_before_it) {
  DenseSequence s(head_options(4, 2, 128), 600, stream());
  clear_values(s);
  const CudnnAttention& attention = plan(s);
  SALA_NEEDS(attention);
  const std::int64_t first = 300;
  const std::int64_t changed = 450;
  s.append(0, 600);
  const std::vector<float> before = run(attention, s, first, 600);
  std::fill(s.k.begin() + changed * s.heads.kv_dim(), s.k.end(), 1000.0F);
  std::fill(s.v.begin() + changed * s.heads.kv_dim(), s.v.end(), -1e4F);
  s.append(0, 600);
  const std::vector<float> after = run(attention, s, first, 600);
  const auto end = (changed - first) * s.heads.q_dim();
  EXPECT_TRUE(std::equal(before.begin(), before.begin() + end, after.begin()));
  EXPECT_FALSE(std::equal(before.begin() + end, before.end(), after.begin() + end));
}

TEST_F(DenseCudnn, equals_the_own_kernel_on_a_long_chunk) {
  DenseSequence s(head_options(8, 2, 128), 12000, stream());
  clear_values(s);
  s.append(0, 12000);
  const CudnnAttention& causal = plan(s);
  SALA_NEEDS(causal);
  const std::vector<float> own = s.prefill(7904, 12000);
  const std::vector<float> whole = run_twice([&] { return run(causal, s, 7904, 12000); });
  expect_within(whole, own, tolerance::kAttentionOutput);
}

TEST_F(DenseCudnn, one_plan_serves_all_who_ask_for_its_shape) {
  const CudnnAttentionShape shape{4, 2, 64, 4096};
  EXPECT_EQ(&shared_cudnn_attention(shape), &shared_cudnn_attention(shape));
  EXPECT_NE(&shared_cudnn_attention(shape), &shared_cudnn_attention({4, 2, 64, 8192}));
}

TEST(CudnnWithoutDevice, says_why_it_is_not_available) {
  // A head of 7 elements suits no engine, with or without a library.
  const CudnnAttention attention({1, 1, 7, 64});
  EXPECT_FALSE(attention.available());
  EXPECT_NE(attention.reason().find("cudnn"), std::string::npos);
}

}  // namespace
}  // namespace sala::testing
