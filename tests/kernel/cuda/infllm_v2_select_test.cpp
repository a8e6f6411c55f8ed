// The choice of blocks on the GPU against the CPU's, on the same scores.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <random>

#include "tests/kernel/cuda/infllm_v2_fixture.h"

namespace sala::testing {
namespace {

/// A length of row for every kernel that looks for the last kept score among few, and the threads
/// of its CTAs: thread i holds pieces i, i + n_threads, ... of eight scores.
struct LongRow {
  std::int64_t off;
  std::int64_t n_threads;
  bool step;

  std::int64_t thread_of(std::int64_t block) const { return block / 8 % n_threads; }
};
constexpr LongRow kLongRows[] = {{1500, 128, false},
                                 {5000, 128, false},
                                 {20000, 256, false},
                                 {5000, 512, true},
                                 {20000, 512, true}};

/// The model's shape with so many first and ranked blocks.
kernels::Shape shape_with(std::int64_t init_blocks, std::int64_t slots) {
  kernels::Shape shape = model_shape();
  shape.init_blocks = init_blocks;
  shape.topk = init_blocks + 1 + slots;
  return shape;
}

class InfllmV2Select : public DeviceTest {
 protected:
  /// Compares the choice for rows [start, start + n) with scores drawn by score(block).
  template <typename Score>
  void expect_choice(const kernels::Shape& shape, std::int64_t start, std::int64_t n,
                     const Score& score, bool step = false) {
    const std::int64_t last = (start + n - 1) / kernels::kBlock;
    const std::int64_t stride = kernels::padded_scores(shape.candidates_end(last));
    const std::int64_t words = kernels::mask_words(last);
    std::vector<float> host(static_cast<std::size_t>(n * shape.n_kv_heads * stride));
    for (std::size_t i = 0; i < host.size(); ++i) {
      host[i] = round_to_bf16(score(static_cast<std::int64_t>(i) % stride));
    }
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

  template <typename Score>
  void expect_choice(const kernels::Shape& shape, const LongRow& row, const Score& score) {
    SCOPED_TRACE(row.step ? "step" : "prompt");
    SCOPED_TRACE(row.off);
    SCOPED_TRACE(shape.slots());
    expect_choice(shape, row.off * 64 + 62, row.step ? 1 : 2, score, row.step);
  }

  std::mt19937 random_{17};
};

TEST_F(InfllmV2Select, chooses_as_the_cpu_does_at_every_length) {
  const kernels::Shape shape = model_shape();
  std::lognormal_distribution<float> score(-6.0F, 2.0F);
  for (const std::int64_t off : {96, 97, 127, 128, 129, 1023, 4095, 4096, 16383, 16384, 32767}) {
    SCOPED_TRACE(off);
    expect_choice(shape, off * 64 - (off > 96 ? 2 : 0), 5, [&](auto) { return score(random_); });
    expect_choice(shape, off * 64 + 63, 1, [&](auto) { return score(random_); }, true);
  }
}

TEST_F(InfllmV2Select, equal_scores_go_to_the_lower_block) {
  const kernels::Shape shape = model_shape();
  for (const std::int64_t off : {96, 200, 5000, 20000}) {
    for (const bool step : {false, true}) {
      SCOPED_TRACE(off);
      SCOPED_TRACE(step);
      const auto expect = [&](std::int64_t n, const auto& score) {
        expect_choice(shape, off * 64, step ? 1 : n, score, step);
      };
      expect(2, [](auto) { return 0.25F; });
      expect(2, [](auto) { return 0.0F; });
      expect(2, [](auto) { return bf16_to_f32(0x7f7f); });
      // Few values: the threshold has equals on both sides of the cut.
      for (const int n_values : {2, 5, 40}) {
        std::uniform_int_distribution<int> value(0, n_values - 1);
        expect(9, [&](auto) { return static_cast<float>(value(random_)); });
      }
      std::uniform_int_distribution<int> rare(0, 300);
      expect(9, [&](auto) { return rare(random_) == 0 ? 1.0F : 0.0F; });
    }
  }
}

TEST_F(InfllmV2Select, subnormal_scores_are_ordered) {
  std::uniform_int_distribution<int> bits(0, 200);
  expect_choice(model_shape(), 150 * 64, 4,
                [&](auto) { return bf16_to_f32(static_cast<std::uint16_t>(bits(random_))); });
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
        expect_choice(shape, first_ranked(shape), 66, [&](auto) { return score(random_); });
        expect_choice(shape, first_ranked(shape) + 6400, 3, [&](auto) { return score(random_); });
      }
    }
  }
}

TEST_F(InfllmV2Select, follows_the_options_of_the_model_in_long_rows) {
  std::lognormal_distribution<float> score(-6.0F, 2.0F);
  for (const LongRow& row : kLongRows) {
    for (const std::int64_t init : {0, 9, 40}) {
      for (const std::int64_t slots : {1, 127, 128, 129, 256, 257, 512, 513}) {
        SCOPED_TRACE(init);
        const kernels::Shape shape = shape_with(init, slots);
        expect_choice(shape, row, [&](auto) { return score(random_); });
      }
    }
  }
}

// They are forced, so that their scores must count neither for the bound nor among the few.
TEST_F(InfllmV2Select, the_best_scores_may_be_those_of_the_first_blocks) {
  std::lognormal_distribution<float> score(-6.0F, 2.0F);
  for (const LongRow& row : kLongRows) {
    for (const std::int64_t init : {1, 9, 40}) {
      for (const std::int64_t slots : {std::int64_t{1}, std::int64_t{63}, row.n_threads}) {
        SCOPED_TRACE(init);
        const auto best_first = [&](std::int64_t block) {
          return block < init ? bf16_to_f32(0x7f7f) : score(random_);
        };
        expect_choice(shape_with(init, slots), row, best_first);
      }
    }
  }
}

// Up to eight candidates a thread, all are searched.
TEST_F(InfllmV2Select, chooses_among_eight_candidates_a_thread_and_one_more) {
  std::lognormal_distribution<float> score(-6.0F, 2.0F);
  constexpr std::int64_t kInit = 9;
  for (const LongRow& row : kLongRows) {
    for (const std::int64_t more : {-1, 0, 1}) {
      for (const std::int64_t slots : {std::int64_t{1}, std::int64_t{63}, row.n_threads}) {
        SCOPED_TRACE(more);
        kernels::Shape shape = shape_with(kInit, slots);
        shape.local_blocks = row.off - kInit - (8 * row.n_threads + more);
        expect_choice(shape, row, [&](auto) { return score(random_); });
        expect_choice(shape, row, [](auto) { return 0.25F; });
      }
    }
  }
}

// The best scores of all threads but one lie above 1, those of that one at 1: with a place for each
// thread that is the bound, which exactly n_high scores reach. There is room for eight a thread.
TEST_F(InfllmV2Select, chooses_when_as_many_scores_reach_the_bound_as_fit_and_one_more) {
  std::uniform_real_distribution<float> share(0.0F, 1.0F);
  for (const LongRow& row : kLongRows) {
    const std::int64_t lone = 5;
    const kernels::Shape shape = shape_with(1, row.n_threads);
    for (const std::int64_t n_high : {8 * row.n_threads, 8 * row.n_threads + 1}) {
      SCOPED_TRACE(n_high);
      std::vector<bool> is_high(static_cast<std::size_t>(row.off + 1));
      std::int64_t left = n_high;
      const auto raise = [&](std::int64_t block) {
        if (left == 0 || is_high[static_cast<std::size_t>(block)]) return;
        is_high[static_cast<std::size_t>(block)] = true;
        --left;
      };
      // The second block of every thread's first piece, then others from the end on.
      for (std::int64_t i = 0; i < row.n_threads; ++i) raise(8 * i + 1);
      for (std::int64_t b = shape.candidates_end(row.off) - 1; b > 0; --b) {
        if (row.thread_of(b) != lone) raise(b);
      }
      ASSERT_EQ(left, 0);
      expect_choice(shape, row, [&](std::int64_t block) {
        if (!is_high[static_cast<std::size_t>(block)]) return 0.4F * share(random_);
        return row.thread_of(block) == lone ? 1.0F : 1.0078125F + share(random_);
      });
    }
  }
}

TEST_F(InfllmV2Select, the_best_scores_may_all_be_those_of_one_thread) {
  std::uniform_real_distribution<float> share(0.0F, 1.0F);
  for (const LongRow& row : kLongRows) {
    for (const std::int64_t thread : {std::int64_t{0}, std::int64_t{77}, row.n_threads - 1}) {
      for (const std::int64_t slots : {std::int64_t{1}, std::int64_t{7}, row.n_threads}) {
        SCOPED_TRACE(thread);
        expect_choice(shape_with(1, slots), row, [&](std::int64_t block) {
          return row.thread_of(block) == thread ? 1.0F + share(random_) : 0.4F * share(random_);
        });
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
