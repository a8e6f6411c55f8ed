// The choice of blocks on the GPU against the CPU's, on the same scores.
// SPDX-License-Identifier: Apache-2.0
#include <random>

#include "tests/kernel/cuda/infllm_v2_fixture.h"

namespace sala::testing {
namespace {

class InfllmV2Select : public DeviceTest {
 protected:
  /// Compares the choice for rows [start, start + n) with scores drawn by `score`.
  template <typename Score>
  void expect_choice(const kernels::Shape& shape, std::int64_t start, std::int64_t n,
                     const Score& score, bool step = false) {
    const std::int64_t last = (start + n - 1) / kernels::kBlock;
    const std::int64_t stride = kernels::padded_scores(shape.candidates_end(last));
    const std::int64_t words = kernels::mask_words(last);
    std::vector<float> host(static_cast<std::size_t>(n * shape.n_kv_heads * stride));
    for (float& value : host) value = round_to_bf16(score());
    for (std::int64_t list = 0; list < n * shape.n_kv_heads; ++list) {
      const std::int64_t off = (start + list / shape.n_kv_heads) / kernels::kBlock;
      std::fill(host.begin() + list * stride + shape.candidates_end(off),
                host.begin() + (list + 1) * stride, 0.0F);
    }
    const DeviceBuffer<Bf16Bits> scores(to_bf16(host));
    const DeviceBuffer<std::int32_t> position(std::vector{static_cast<std::int32_t>(start)});
    const std::vector<std::uint32_t> masks = run_twice([&] {
      DeviceBuffer<std::uint32_t> out(n * shape.n_kv_heads * words);
      kernels::SelectParams params{.scores = bf16(scores),
                                   .score_stride = stride,
                                   .shape = shape,
                                   .masks = out.data(),
                                   .mask_stride = words,
                                   .start = start,
                                   .n_tokens = n};
      if (step) {
        params.position = position.data();
        params.ranked_begin = first_ranked(shape);
      }
      SALA_CUDA(kernels::launch_select(params, stream()));
      sync();
      out.expect_guards_intact();
      return out.download();
    });
    for (std::int64_t list = 0; list < n * shape.n_kv_heads; ++list) {
      const std::int64_t t = start + list / shape.n_kv_heads;
      const std::vector<float> row(host.begin() + list * stride,
                                   host.begin() + (list + 1) * stride);
      const std::vector<std::uint32_t> expected =
          mask_of(reference_blocks(shape, t, row), kernels::mask_words(t / kernels::kBlock));
      ASSERT_TRUE(std::equal(expected.begin(), expected.end(), masks.begin() + list * words))
          << "row " << t << ", list " << list;
    }
  }

  std::mt19937 random_{17};
};

TEST_F(InfllmV2Select, chooses_as_the_cpu_does_at_every_length) {
  const kernels::Shape shape = model_shape();
  std::lognormal_distribution<float> score(-6.0F, 2.0F);
  for (const std::int64_t off : {96, 97, 127, 128, 129, 1023, 4095, 4096, 16383, 16384, 32767}) {
    SCOPED_TRACE(off);
    expect_choice(shape, off * 64 - (off > 96 ? 2 : 0), 5, [&] { return score(random_); });
    expect_choice(shape, off * 64 + 63, 1, [&] { return score(random_); }, true);
  }
}

TEST_F(InfllmV2Select, equal_scores_go_to_the_lower_block) {
  const kernels::Shape shape = model_shape();
  for (const std::int64_t off : {96, 200, 5000}) {
    SCOPED_TRACE(off);
    expect_choice(shape, off * 64, 2, [] { return 0.25F; });
    expect_choice(shape, off * 64, 2, [] { return 0.0F; });
    expect_choice(shape, off * 64, 2, [] { return bf16_to_f32(0x7f7f); });
    // Few values: the threshold has equals on both sides of the cut.
    for (const int n_values : {2, 5, 40}) {
      std::uniform_int_distribution<int> value(0, n_values - 1);
      expect_choice(shape, off * 64, 9, [&] { return static_cast<float>(value(random_)); });
    }
    std::uniform_int_distribution<int> rare(0, 300);
    expect_choice(shape, off * 64, 9, [&] { return rare(random_) == 0 ? 1.0F : 0.0F; });
  }
}

TEST_F(InfllmV2Select, subnormal_scores_are_ordered) {
  std::uniform_int_distribution<int> bits(0, 200);
  expect_choice(model_shape(), 150 * 64, 4,
                [&] { return bf16_to_f32(static_cast<std::uint16_t>(bits(random_))); });
}

TEST_F(InfllmV2Select, follows_the_options_of_the_model) {
  std::uniform_real_distribution<float> score(0.0F, 1.0F);
  for (const std::int64_t init : {0, 1, 3, 9, 40}) {
    for (const std::int64_t local : {1, 31, 32, 33}) {
      for (const std::int64_t slots : {0, 1, 7, 200}) {
        SCOPED_TRACE(init * 1000000 + local * 1000 + slots);
        kernels::Shape shape = model_shape();
        shape.init_blocks = init;
        shape.local_blocks = local;
        shape.topk = init + 1 + slots;
        expect_choice(shape, first_ranked(shape), 66, [&] { return score(random_); });
        expect_choice(shape, first_ranked(shape) + 6400, 3, [&] { return score(random_); });
      }
    }
  }
}

TEST_F(InfllmV2Select, a_step_below_the_first_ranked_row_writes_nothing) {
  const kernels::Shape shape = small_shape(64);
  const DeviceBuffer<std::int32_t> position(std::vector<std::int32_t>{449});
  const DeviceBuffer<Bf16Bits> scores(std::vector<Bf16Bits>(16));
  DeviceBuffer<std::uint32_t> masks(2);
  SALA_CUDA(kernels::launch_select({.scores = bf16(scores),
                                    .score_stride = 8,
                                    .shape = shape,
                                    .masks = masks.data(),
                                    .mask_stride = 1,
                                    .n_tokens = 1,
                                    .position = position.data(),
                                    .ranked_begin = 450},
                                   stream()));
  sync();
  EXPECT_EQ(masks.download(), (std::vector<std::uint32_t>{0xffffffffU, 0xffffffffU}));
}

}  // namespace
}  // namespace sala::testing
