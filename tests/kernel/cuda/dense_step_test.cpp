// Softmax attention for one token, and the cache it reads, on the GPU.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/dense/cuda/step.h"

#include "tests/kernel/cuda/dense_fixture.h"

namespace sala::testing {
namespace {

class DenseStep : public DeviceTest {
 protected:
  std::vector<float> step(DenseSequence& s, std::int64_t t) {
    backend_->set_position(t);
    return s.step(t, backend_->position());
  }
};

TEST_F(DenseStep, equals_the_reference_at_every_length) {
  for (const std::int64_t head_dim : {64, 128}) {
    DenseSequence s(head_options(8, 2, head_dim), 1100, stream());
    s.append(0, 1100);
    for (const std::int64_t t :
         {0, 1, 14, 15, 16, 62, 63, 64, 127, 128, 254, 255, 256, 257, 511, 512, 1099}) {
      SCOPED_TRACE(head_dim * 10000 + t);
      expect_within(step(s, t), s.expected(t), tolerance::kAttentionOutput);
    }
  }
}

TEST_F(DenseStep, equals_the_reference_for_every_group) {
  for (const std::int64_t group : {1, 2, 3, 4, 8, 16}) {
    for (const std::int64_t head_dim : {64, 128}) {
      SCOPED_TRACE(group * 1000 + head_dim);
      DenseSequence s(head_options(2 * group, 2, head_dim), 700, stream());
      s.append(0, 700);
      expect_within(step(s, 699), s.expected(699), tolerance::kAttentionOutput);
    }
  }
}

TEST_F(DenseStep, equals_the_last_row_of_a_prefill) {
  DenseSequence s(head_options(16, 1, 64), 3000, stream());
  s.append(0, 3000);
  for (const std::int64_t t : {500, 2047, 2999}) {
    expect_within(step(s, t), s.prefill(t, t + 1), tolerance::kAttentionOutput);
  }
}

TEST_F(DenseStep, bits_do_not_depend_on_the_room_of_the_cache) {
  DenseSequence small(head_options(4, 2, 64), 1000, stream());
  DenseSequence large(head_options(4, 2, 64), 9000, stream());
  std::copy(small.q.begin(), small.q.end(), large.q.begin());
  std::copy(small.k.begin(), small.k.end(), large.k.begin());
  std::copy(small.v.begin(), small.v.end(), large.v.begin());
  small.append(0, 1000);
  large.append(0, 1000);
  EXPECT_EQ(step(small, 999), step(large, 999));
  run_twice([&] { return step(small, 999); });
}

TEST_F(DenseStep, large_scores_stay_finite_and_right) {
  DenseSequence s(head_options(4, 1, 128), 600, stream());
  for (float& value : s.q) value *= 16;
  for (float& value : s.k) value *= 16;
  s.append(0, 600);
  expect_within(step(s, 599), s.expected(599), tolerance::kAttentionOutput);
}

TEST_F(DenseStep, appended_tokens_lie_where_the_layout_says) {
  DenseSequence s(head_options(6, 3, 64), 70, stream());
  s.append(0, 40);
  for (std::int64_t t = 40; t < 70; ++t) {
    backend_->set_position(t);
    s.append(t, t + 1, backend_->position());
  }
  const std::vector<float> k = from_bf16(s.k_cache.download());
  const std::vector<float> v = from_bf16(s.v_cache.download());
  for (std::int64_t g = 0; g < 3; ++g) {
    for (std::int64_t t = 0; t < s.capacity; ++t) {
      for (std::int64_t c = 0; c < 64; ++c) {
        const auto at = static_cast<std::size_t>((g * s.capacity + t) * 64 + c);
        if (t >= 70) {
          ASSERT_TRUE(std::isnan(k[at]) && std::isnan(v[at])) << "written behind the last token";
          continue;
        }
        const auto from = static_cast<std::size_t>(t * s.heads.kv_dim() + g * 64 + c);
        ASSERT_EQ(k[at], s.k[from]);
        ASSERT_EQ(v[at], s.v[from]);
      }
    }
  }
}

TEST_F(DenseStep, refuses_what_has_no_kernel) {
  kernels::StepParams params{.n_heads = 17, .n_kv_heads = 1, .head_dim = 64};
  EXPECT_EQ(kernels::launch_step(params, stream()), cudaErrorInvalidValue);
  params.n_heads = 4;
  params.head_dim = 32;
  EXPECT_EQ(kernels::launch_step(params, stream()), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace sala::testing
