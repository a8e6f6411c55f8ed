// Causal softmax attention over many tokens on the GPU against fp64 rows, and its laws.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/dense/cuda/prefill.h"

#include "tests/kernel/cuda/dense_fixture.h"

namespace sala::testing {
namespace {

class DensePrefill : public DeviceTest {
 protected:
  DenseSequence sequence(std::int64_t n_heads, std::int64_t n_kv_heads, std::int64_t head_dim,
                         std::int64_t length) {
    return DenseSequence(head_options(n_heads, n_kv_heads, head_dim), length, stream());
  }
};

TEST_F(DensePrefill, equals_the_reference_at_every_length) {
  for (const std::int64_t head_dim : {64, 128}) {
    for (const std::int64_t n : {1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 260}) {
      SCOPED_TRACE(head_dim * 1000 + n);
      DenseSequence s = sequence(2, 1, head_dim, n);
      s.append(0, n);
      expect_within(s.prefill(0, n), s.expected_rows(0, n), tolerance::kAttentionOutput);
    }
  }
}

TEST_F(DensePrefill, equals_the_reference_for_every_group) {
  for (const std::int64_t group : {1, 4, 16}) {
    for (const std::int64_t head_dim : {64, 128}) {
      SCOPED_TRACE(group * 1000 + head_dim);
      DenseSequence s = sequence(2 * group, 2, head_dim, 150);
      s.append(0, 150);
      expect_within(s.prefill(0, 150), s.expected_rows(0, 150), tolerance::kAttentionOutput);
    }
  }
}

TEST_F(DensePrefill, continues_a_history_at_every_residue) {
  // (rows mod 64, keys mod 64) runs over a sample that meets every residue of either.
  for (std::int64_t i = 0; i < 64; ++i) {
    const std::int64_t n_rows = 64 + i;
    const std::int64_t n_keys = 192 + i * 13 % 64;
    SCOPED_TRACE(n_rows * 1000 + n_keys);
    DenseSequence s = sequence(1, 1, 64, n_keys);
    s.append(0, n_keys);
    const std::int64_t start = n_keys - n_rows;
    expect_within(s.prefill(start, n_keys), s.expected_rows(start, n_keys),
                  tolerance::kAttentionOutput);
  }
}

TEST_F(DensePrefill, rows_have_the_same_bits_however_a_prompt_is_cut) {
  DenseSequence s = sequence(4, 2, 128, 400);
  s.append(0, 400);
  const std::vector<float> whole = s.prefill(0, 400);
  for (const std::int64_t cut : {1, 64, 100, 128, 399}) {
    std::vector<float> parts = s.prefill(0, cut);
    const std::vector<float> rest = s.prefill(cut, 400);
    parts.insert(parts.end(), rest.begin(), rest.end());
    EXPECT_EQ(parts, whole) << "cut at " << cut;
  }
  EXPECT_EQ(s.prefill(0, 400, true), whole) << "in place";
  run_twice([&] { return s.prefill(0, 400); });
}

TEST_F(DensePrefill, a_later_key_moves_no_row_before_it) {
  DenseSequence s = sequence(2, 1, 64, 300);
  s.append(0, 300);
  const std::vector<float> before = s.prefill(0, 300);
  const std::int64_t changed = 170;
  std::fill(s.k.begin() + changed * s.heads.kv_dim(), s.k.end(), 1000.0F);
  std::fill(s.v.begin() + changed * s.heads.kv_dim(), s.v.end(), -1e4F);
  s.append(0, 300);
  const std::vector<float> after = s.prefill(0, 300);
  const auto end = changed * s.heads.q_dim();
  EXPECT_TRUE(std::equal(before.begin(), before.begin() + end, after.begin()));
  EXPECT_FALSE(std::equal(before.begin() + end, before.end(), after.begin() + end));
}

TEST_F(DensePrefill, large_scores_stay_finite_and_right) {
  DenseSequence s = sequence(2, 1, 128, 200);
  for (float& value : s.q) value *= 16;
  for (float& value : s.k) value *= 16;
  s.append(0, 200);
  expect_within(s.prefill(0, 200), s.expected_rows(0, 200), tolerance::kAttentionOutput);
}

TEST_F(DensePrefill, equal_keys_give_the_mean_of_the_values) {
  DenseSequence s = sequence(2, 2, 64, 130);
  std::fill(s.k.begin(), s.k.end(), 0.5F);
  s.append(0, 130);
  expect_within(s.prefill(0, 130), s.expected_rows(0, 130), tolerance::kAttentionOutput);
}

TEST_F(DensePrefill, sampled_rows_of_a_long_context_are_right) {
  const std::int64_t n = 20000;
  DenseSequence s = sequence(2, 1, 64, n);
  s.append(0, n);
  for (const std::int64_t t : {8191, 12345, 19999}) {
    expect_within(s.prefill(t, t + 1), s.expected(t), tolerance::kAttentionOutput);
  }
}

TEST_F(DensePrefill, heads_beyond_two_to_the_31_elements_are_reached) {
  constexpr std::int64_t kFar = (std::int64_t{1} << 24) + 64;  // tokens of 128 elements
  if (backend_->available_bytes() < (std::int64_t{24} << 30)) GTEST_SKIP() << "needs 24 GiB";
  DenseSequence s = sequence(2, 2, 128, 100);
  s.append(0, 100);
  const std::vector<float> near = s.prefill(0, 100);
  s.capacity = kFar;
  DeviceBuffer<Bf16Bits> far_k(s.heads.kv_dim() * kFar);
  DeviceBuffer<Bf16Bits> far_v(s.heads.kv_dim() * kFar);
  const DeviceBuffer<Bf16Bits> new_k(to_bf16(s.k));
  const DeviceBuffer<Bf16Bits> new_v(to_bf16(s.v));
  SALA_CUDA(kernels::launch_append({.k = bf16(new_k),
                                    .v = bf16(new_v),
                                    .k_cache = bf16(far_k),
                                    .v_cache = bf16(far_v),
                                    .capacity = kFar,
                                    .n_tokens = 100,
                                    .n_kv_heads = 2,
                                    .head_dim = 128},
                                   stream()));
  DeviceBuffer<Bf16Bits> queries(to_bf16(s.q));
  DeviceBuffer<Bf16Bits> out(100 * s.heads.q_dim());
  kernels::PrefillParams params = s.prefill_params(queries, out, 0, 100);
  params.k = bf16(far_k);
  params.v = bf16(far_v);
  SALA_CUDA(kernels::launch_prefill(params, stream()));
  EXPECT_EQ(from_bf16(out.download()), near);
}

TEST_F(DensePrefill, refuses_what_has_no_kernel) {
  EXPECT_EQ(kernels::launch_prefill({.n_tokens = 1, .n_heads = 1, .n_kv_heads = 1, .head_dim = 80},
                                    stream()),
            cudaErrorInvalidValue);
}

TEST_F(DensePrefill, cost_counts_visible_pairs) {
  const Cost cost = kernels::prefill_cost(
      {.start = 0, .n_tokens = 32768, .n_heads = 32, .n_kv_heads = 8, .head_dim = 128});
  EXPECT_NEAR(cost.flops, 2.0 * 32 * 128 * 32768 * 32769, 1e6);
  EXPECT_NEAR(cost.bytes, 2.0 * 32768 * 128 * (2 * 32 + 2 * 8), 1);
}

}  // namespace
}  // namespace sala::testing
