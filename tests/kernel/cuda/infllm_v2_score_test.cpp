// Block scores on the GPU against fp64, and the laws that cuts of a prompt and steps obey.
// SPDX-License-Identifier: Apache-2.0
#include <limits>

#include "engine/backend/cuda/hopper.h"
#include "tests/kernel/cuda/infllm_v2_fixture.h"

namespace sala::testing {
namespace {

class InfllmV2Score : public DeviceTest {
 protected:
  /// Runs the test with every body that this GPU has.
  template <typename Test>
  void for_bodies(const Test& test) {
    for (const bool hopper : {false, true}) {
      if (hopper && !cuda::is_hopper(backend_->properties())) continue;
      SCOPED_TRACE(hopper ? "Hopper" : "any GPU");
      hopper_ = hopper;
      test();
    }
  }

  /// Scores (n, n_kv_heads, stride) of the rows from `start` on. q: (n, q_dim).
  std::vector<float> scores(DeviceSequence& sequence, const std::vector<float>& q,
                            std::int64_t start, std::int64_t stride, bool exact_lse = false) {
    const std::int64_t n = static_cast<std::int64_t>(q.size()) / sequence.shape.q_dim();
    const DeviceBuffer<Bf16Bits> queries(to_bf16(q));
    DeviceBuffer<Bf16Bits> out(n * sequence.shape.n_kv_heads * stride);
    SALA_CUDA(kernels::launch_score({.q = bf16(queries),
                                     .cache = sequence.cache(),
                                     .shape = sequence.shape,
                                     .scores = bf16(out),
                                     .score_stride = stride,
                                     .start = start,
                                     .n_tokens = n,
                                     .exact_lse = exact_lse,
                                     .hopper = hopper_},
                                    stream()));
    sync();
    out.expect_guards_intact();
    return from_bf16(out.download());
  }

  /// The same of one row through the kernels of a step.
  std::vector<float> step_scores(DeviceSequence& sequence, const std::vector<float>& q,
                                 std::int64_t t, std::int64_t stride, std::int64_t ranked_begin,
                                 bool exact_lse = false) {
    const kernels::Shape& shape = sequence.shape;
    const DeviceBuffer<Bf16Bits> queries(to_bf16(q));
    const DeviceBuffer<std::int32_t> position(std::vector{static_cast<std::int32_t>(t)});
    DeviceBuffer<Bf16Bits> out(shape.n_kv_heads * stride);
    DeviceBuffer<unsigned char> partials(
        kernels::score_step_workspace_bytes(shape, sequence.capacity, exact_lse));
    SALA_CUDA(kernels::launch_score_step({.row = {.q = bf16(queries),
                                                  .cache = sequence.cache(),
                                                  .shape = shape,
                                                  .scores = bf16(out),
                                                  .score_stride = stride,
                                                  .n_tokens = 1,
                                                  .exact_lse = exact_lse},
                                          .position = position.data(),
                                          .ranked_begin = ranked_begin,
                                          .partials = reinterpret_cast<float2*>(partials.data())},
                                         stream()));
    sync();
    out.expect_guards_intact();
    partials.expect_guards_intact();
    return from_bf16(out.download());
  }

  static std::int64_t stride_for(const kernels::Shape& shape, std::int64_t t) {
    return kernels::padded_scores(shape.candidates_end(t / kernels::kBlock));
  }

 private:
  bool hopper_ = false;
};

/// Compares rows that are at least `every` apart, and the padding behind them.
void expect_reference(const DeviceSequence& sequence, const std::vector<float>& q,
                      std::int64_t start, const std::vector<float>& scores, std::int64_t stride,
                      double tolerance, bool exact_lse = false, std::int64_t every = 1) {
  const kernels::Shape& shape = sequence.shape;
  const HostWindows windows(sequence);
  const std::int64_t n = static_cast<std::int64_t>(q.size()) / shape.q_dim();
  for (std::int64_t r = 0; r < n; r += every) {
    for (std::int64_t head = 0; head < shape.n_kv_heads; ++head) {
      const float* row = scores.data() + (r * shape.n_kv_heads + head) * stride;
      const std::vector<double> expected = reference_scores(
          windows, q.data() + r * shape.q_dim() + head * shape.group * shape.head_dim, start + r,
          head, exact_lse);
      const auto candidates = static_cast<std::int64_t>(expected.size());
      for (std::int64_t b = 0; b < candidates; ++b) {
        const double e = std::min(expected[static_cast<std::size_t>(b)], 3.4e38);
        ASSERT_NEAR(static_cast<double>(row[b]), e, tolerance * e + 1e-37)
            << "row " << start + r << " head " << head << " block " << b;
      }
      for (std::int64_t b = candidates; b < kernels::padded_scores(candidates); ++b) {
        ASSERT_EQ(row[b], 0.0F) << "padding of row " << start + r;
      }
    }
  }
}

constexpr double kOneRounding = 5e-3;

TEST_F(InfllmV2Score, equals_reference_for_every_group_and_head_dim) {
  for (const std::int64_t head_dim : {64, 128}) {
    for (const std::int64_t group : {1, 3, 8, 16}) {
      SCOPED_TRACE(head_dim * 100 + group);
      DeviceSequence sequence(small_shape(head_dim, group), 520, stream());
      sequence.append(0, 520);
      const std::vector<float> q = random_rows(520 - 391, sequence.shape.q_dim(), 5);
      const std::int64_t stride = stride_for(sequence.shape, 519);
      for_bodies([&] {
        const std::vector<float> got = scores(sequence, q, 391, stride);
        expect_reference(sequence, q, 391, got, stride, kOneRounding);
      });
    }
  }
}

// From the first ranked row on, so that regions of keys end at every place within a tile.
TEST_F(InfllmV2Score, equals_reference_for_every_number_of_candidates) {
  constexpr std::int64_t kBlocks = 74;
  for (const auto& [head_dim, group] : {std::pair{128, 16}, {64, 3}}) {
    const kernels::Shape shape = small_shape(head_dim, group);
    DeviceSequence sequence(shape, kBlocks * kernels::kBlock, stream());
    sequence.append(0, kBlocks * kernels::kBlock);
    for (std::int64_t off = shape.n_selected(); off < kBlocks - 1; ++off) {
      SCOPED_TRACE(head_dim * 1000 + shape.candidates_end(off));
      // Two rows of that block, of which the second sees a window of k2 more, and one of the next.
      const std::int64_t start = off * kernels::kBlock + 62;
      const std::vector<float> q =
          random_rows(3, shape.q_dim(), static_cast<std::uint64_t>(100 + off));
      const std::int64_t stride = stride_for(shape, start + 2);
      for_bodies([&] {
        const std::vector<float> got = scores(sequence, q, start, stride);
        expect_reference(sequence, q, start, got, stride, kOneRounding);
      });
    }
  }
}

TEST_F(InfllmV2Score, equals_reference_with_the_exact_normaliser) {
  DeviceSequence sequence(small_shape(128), 460, stream());
  sequence.append(0, 460);
  const std::vector<float> q = random_rows(460 - 384, sequence.shape.q_dim(), 6);
  const std::int64_t stride = stride_for(sequence.shape, 459);
  for_bodies([&] {
    const std::vector<float> got = scores(sequence, q, 384, stride, true);
    expect_reference(sequence, q, 384, got, stride, kOneRounding, true);
  });
}

TEST_F(InfllmV2Score, equals_reference_at_the_sizes_of_the_model) {
  const kernels::Shape shape = model_shape();
  for (const auto& [start, end] : {std::pair{6144, 6145}, {6144, 6209}, {8100, 8193}}) {
    SCOPED_TRACE(end);
    DeviceSequence sequence(shape, end, stream());
    sequence.append(0, end);
    const std::vector<float> q = random_rows(end - start, shape.q_dim(), 7);
    const std::int64_t stride = stride_for(shape, end - 1);
    for_bodies([&] {
      const std::vector<float> got = scores(sequence, q, start, stride);
      expect_reference(sequence, q, start, got, stride, kOneRounding, false, 7);
    });
  }
}

TEST_F(InfllmV2Score, equals_reference_when_tiles_of_shared_memory_are_used_again) {
  for (const std::int64_t head_dim : {64, 128}) {
    DeviceSequence sequence(small_shape(head_dim), 28900, stream());
    sequence.append(0, 28900);
    for (const std::int64_t group : {16, 3}) {
      SCOPED_TRACE(head_dim * 100 + group);
      sequence.shape.group = group;  // the caches are the same for every group
      const std::vector<float> q = random_rows(28900 - 28840, sequence.shape.q_dim(), 13);
      const std::int64_t stride = stride_for(sequence.shape, 28899);
      for_bodies([&] {
        for (const bool exact : {false, true}) {
          SCOPED_TRACE(exact);
          const std::vector<float> got = scores(sequence, q, 28840, stride, exact);
          expect_reference(sequence, q, 28840, got, stride, kOneRounding, exact, 5);
        }
      });
    }
  }
}

TEST_F(InfllmV2Score, rows_do_not_depend_on_the_cut_of_the_prompt) {
  DeviceSequence sequence(small_shape(128), 700, stream());
  sequence.append(0, 700);
  const std::int64_t q_dim = sequence.shape.q_dim();
  const std::vector<float> q = random_rows(700 - 384, q_dim, 8);
  const std::int64_t stride = stride_for(sequence.shape, 699);
  const std::int64_t row = sequence.shape.n_kv_heads * stride;
  for_bodies([&] {
    const std::vector<float> whole = run_twice([&] { return scores(sequence, q, 384, stride); });
    for (const auto& [begin, end] : {std::pair{384, 385}, {391, 450}, {447, 449}, {500, 640}}) {
      const std::vector<float> part(q.begin() + (begin - 384) * q_dim,
                                    q.begin() + (end - 384) * q_dim);
      const std::vector<float> got = scores(sequence, part, begin, stride);
      for (std::int64_t t = begin; t < end; ++t) {
        for (std::int64_t head = 0; head < sequence.shape.n_kv_heads; ++head) {
          const auto first = static_cast<std::ptrdiff_t>(head * stride);
          const auto n = static_cast<std::ptrdiff_t>(stride_for(sequence.shape, t));
          EXPECT_TRUE(std::equal(got.begin() + (t - begin) * row + first,
                                 got.begin() + (t - begin) * row + first + n,
                                 whole.begin() + (t - 384) * row + first))
              << t;
        }
      }
    }
  });
}

TEST_F(InfllmV2Score, one_key_that_dwarfs_the_rest_stays_finite_and_ranks_first) {
  DeviceSequence sequence(small_shape(128), 512, stream());
  for (std::int64_t c = 0; c < sequence.shape.kv_dim(); ++c) {
    float& value = sequence.keys[static_cast<std::size_t>(100 * sequence.shape.kv_dim() + c)];
    value *= 1024.0F;  // in block 1, and in a window of k2 that no row leaves out
  }
  sequence.append(0, 512);
  const std::vector<float> q = random_rows(64, sequence.shape.q_dim(), 9, 4.0F);
  const std::int64_t stride = stride_for(sequence.shape, 511);
  for_bodies([&] {
    const std::vector<float> got = scores(sequence, q, 448, stride);
    expect_reference(sequence, q, 448, got, stride, 2e-2);
    for (const float score : got) EXPECT_TRUE(std::isfinite(score));
  });
}

TEST_F(InfllmV2Score, weights_above_every_finite_number_become_the_largest) {
  // All of k2 is far below one window of k1: half of every k2 mean points the other way.
  kernels::Shape shape = small_shape(64, 1);
  shape.scale = 1.0F;
  DeviceSequence sequence(shape, 512, stream());
  std::fill(sequence.keys.begin(), sequence.keys.end(), 0.0F);
  for (std::int64_t t = 64; t < 512; ++t) {
    const float sign = t % 64 < 32 ? 16.0F : -16.0F;
    for (std::int64_t c = 0; c < shape.kv_dim(); ++c) {
      sequence.keys[static_cast<std::size_t>(t * shape.kv_dim() + c)] = sign;
    }
  }
  sequence.append(0, 512);
  const std::vector<float> q(static_cast<std::size_t>(shape.q_dim()), 4.0F);
  const std::int64_t stride = stride_for(shape, 448);
  for_bodies([&] { EXPECT_EQ(scores(sequence, q, 448, stride)[1], bf16_to_f32(0x7f7f)); });
  EXPECT_EQ(step_scores(sequence, q, 448, stride, 384)[1], bf16_to_f32(0x7f7f));
}

TEST_F(InfllmV2Score, equal_keys_give_equal_scores) {
  DeviceSequence sequence(small_shape(64), 640, stream());
  for (std::size_t i = 0; i < sequence.keys.size(); ++i) sequence.keys[i] = 0.5F;
  sequence.append(0, 640);
  const std::vector<float> q = random_rows(640 - 384, sequence.shape.q_dim(), 10);
  const std::int64_t stride = stride_for(sequence.shape, 639);
  for_bodies([&] {
    const std::vector<float> got = scores(sequence, q, 384, stride);
    for (std::int64_t r = 0; r < (640 - 384) * sequence.shape.n_kv_heads; ++r) {
      const std::int64_t t = 384 + r / sequence.shape.n_kv_heads;
      for (std::int64_t b = 1; b < sequence.shape.candidates_end(t / 64); ++b) {
        ASSERT_EQ(got[static_cast<std::size_t>(r * stride + b)],
                  got[static_cast<std::size_t>(r * stride)]);
      }
    }
  });
}

TEST_F(InfllmV2Score, heads_far_apart_keep_their_shares) {
  kernels::Shape shape = small_shape(64, 2);
  DeviceSequence sequence(shape, 450, stream());
  sequence.append(0, 450);
  std::vector<float> q = random_rows(450 - 384, shape.q_dim(), 11);
  for (std::size_t i = 0; i < q.size(); i += 128) {
    for (std::size_t c = 0; c < 64; ++c) q[i + c] *= 64.0F;  // the first head of each pair
  }
  const std::int64_t stride = stride_for(shape, 449);
  for_bodies([&] {
    const std::vector<float> got = scores(sequence, q, 384, stride);
    expect_reference(sequence, q, 384, got, stride, 2e-2);
  });
}

// A small group leaves part of a tile empty; queries of the next KV head must not count there,
// whatever they hold.
TEST_F(InfllmV2Score, queries_of_one_kv_head_do_not_reach_another) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const std::int64_t head_dim : {64, 128}) {
    for (const std::int64_t group : {1, 3, 15}) {
      kernels::Shape shape = small_shape(head_dim, group);
      shape.n_kv_heads = 3;
      DeviceSequence sequence(shape, 520, stream());
      sequence.append(0, 520);
      const std::int64_t start = 500;
      const std::vector<float> clean = random_rows(20, shape.q_dim(), 14);
      const std::int64_t stride = stride_for(shape, 519);  // the same for all of these rows
      for (const float value : {kNan, kInfinity, 3e38F}) {
        SCOPED_TRACE(head_dim * 100 + group);
        SCOPED_TRACE(value);
        std::vector<float> spoilt = clean;
        for (std::int64_t i = 0; i < 20 * shape.q_dim(); ++i) {
          if (i % shape.q_dim() / (group * head_dim) == 1) {
            spoilt[static_cast<std::size_t>(i)] = i % 2 == 0 ? value : -value;
          }
        }
        /// Rows (n, n_kv_heads, stride), of which KV heads 0 and 2 must be equal and finite.
        const auto expect_others_equal = [&](const std::vector<float>& got,
                                             const std::vector<float>& expected) {
          for (std::size_t i = 0; i < expected.size(); ++i) {
            if (static_cast<std::int64_t>(i) / stride % 3 == 1) continue;
            ASSERT_TRUE(std::isfinite(expected[i])) << i;
            ASSERT_EQ(got[i], expected[i]) << i;
          }
        };
        for_bodies([&] {
          expect_others_equal(scores(sequence, spoilt, start, stride),
                              scores(sequence, clean, start, stride));
        });
        const auto last_row = [&](const std::vector<float>& q) {
          return std::vector<float>(q.end() - shape.q_dim(), q.end());
        };
        expect_others_equal(step_scores(sequence, last_row(spoilt), 519, stride, 384),
                            step_scores(sequence, last_row(clean), 519, stride, 384));
      }
    }
  }
}

TEST_F(InfllmV2Score, a_step_scores_like_a_prompt) {
  for (const std::int64_t head_dim : {64, 128}) {
    for (const bool exact : {false, true}) {
      const kernels::Shape shape = small_shape(head_dim, head_dim == 64 ? 5 : 16);
      DeviceSequence sequence(shape, 2100, stream());
      sequence.append(0, 2100);
      for (const std::int64_t t : {384, 399, 400, 446, 447, 448, 1343, 2047, 2099}) {
        SCOPED_TRACE(t);
        const std::vector<float> q = random_rows(1, shape.q_dim(), static_cast<std::uint64_t>(t));
        const std::int64_t stride = stride_for(shape, sequence.capacity - 1);
        const std::vector<float> got =
            run_twice([&] { return step_scores(sequence, q, t, stride, 384, exact); });
        expect_reference(sequence, q, t, got, stride, kOneRounding, exact);
      }
    }
  }
}

TEST_F(InfllmV2Score, a_step_below_the_first_ranked_row_writes_nothing) {
  DeviceSequence sequence(small_shape(64), 450, stream());
  sequence.append(0, 450);
  const std::vector<float> q = random_rows(1, sequence.shape.q_dim(), 12);
  for (const float score : step_scores(sequence, q, 449, 8, 450)) EXPECT_TRUE(std::isnan(score));
}

}  // namespace
}  // namespace sala::testing
