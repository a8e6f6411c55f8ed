// Attention over chosen blocks on the GPU against fp64, and what hidden keys must not do.
// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/cuda/infllm_v2_attend_fixture.h"

namespace sala::testing {
namespace {

TEST_F(InfllmV2Attend, dense_rows_equal_reference_at_every_length) {
  for (const std::int64_t head_dim : {64, 128}) {
    DeviceSequence sequence(small_shape(head_dim), 140, stream());
    std::int64_t held = 0;
    for (const std::int64_t n : {1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129}) {
      SCOPED_TRACE(n);
      sequence.append(held, n);
      held = n;
      expect_reference(sequence, attend(sequence, 0, n), 0, kernels::kNever, {});
      const std::int64_t start = n / 3;  // with history
      expect_reference(sequence, attend(sequence, start, n - start), start, kernels::kNever, {});
    }
  }
}

TEST_F(InfllmV2Attend, dense_rows_equal_reference_for_every_group) {
  for (const std::int64_t group : {1, 2, 5, 8, 15}) {
    SCOPED_TRACE(group);
    DeviceSequence sequence(small_shape(64, group), 100, stream());
    sequence.append(0, 100);
    expect_reference(sequence, attend(sequence, 37, 63), 37, kernels::kNever, {});
    const Call whole = attend(sequence, 99, 1);
    const Call one{whole.q, step(sequence, whole.q, 99)};
    expect_reference(sequence, one, 99, kernels::kNever, {});
  }
}

TEST_F(InfllmV2Attend, chosen_blocks_equal_reference_however_tiles_overlap) {
  for (const std::int64_t head_dim : {64, 128}) {
    kernels::Shape shape = small_shape(head_dim);
    shape.topk = 10;  // 8 ranked slots, 12 blocks in all
    const std::int64_t start = 5003;
    const std::int64_t n = 45;
    DeviceSequence sequence(shape, start + n, stream());
    sequence.append(0, start + n);
    /// Eight blocks in a row, from one that depends on the token.
    const auto row_from = [&](std::int64_t t, std::int64_t first) {
      Blocks blocks(8);
      std::iota(blocks.begin(), blocks.end(), static_cast<std::int32_t>(first));
      return with_forced(shape, t, blocks);
    };
    const std::pair<const char*, Choice> cases[] = {
        {"identical",
         [&](std::int64_t t, std::int64_t head) {
           return random_choice(shape, t, static_cast<std::uint64_t>(t / 64 * 2 + head));
         }},
        {"drifting", [&](std::int64_t t, std::int64_t) { return row_from(t, 1 + t % 8); }},
        {"random",
         [&](std::int64_t t, std::int64_t head) {
           return random_choice(shape, t, static_cast<std::uint64_t>(t * 2 + head));
         }},
        {"disjoint", [&](std::int64_t t, std::int64_t) { return row_from(t, 1 + t % 8 * 8); }},
    };
    for (const auto& [name, choice] : cases) {
      SCOPED_TRACE(name);
      const Call call = attend(sequence, start, n, first_ranked(shape), choice);
      expect_reference(sequence, call, start, first_ranked(shape), choice);
    }
  }
}

TEST_F(InfllmV2Attend, few_blocks_of_many_equal_reference) {
  const kernels::Shape shape = small_shape(64);
  const std::int64_t end = 20011;  // ten words of a mask
  DeviceSequence sequence(shape, end, stream());
  sequence.append(0, end);
  const Choice choice = [&](std::int64_t t, std::int64_t head) {
    return random_choice(shape, t, static_cast<std::uint64_t>(t * 2 + head));
  };
  for (const std::int64_t start : {8185, 8192, 16379, 20000}) {
    SCOPED_TRACE(start);
    const Call call = attend(sequence, start, 11, first_ranked(shape), choice);
    expect_reference(sequence, call, start, first_ranked(shape), choice);
  }
}

TEST_F(InfllmV2Attend, a_tile_may_hold_dense_and_ranked_rows) {
  const kernels::Shape shape = small_shape(64);
  DeviceSequence sequence(shape, 700, stream());
  sequence.append(0, 700);
  const Choice choice = [&](std::int64_t t, std::int64_t head) {
    return random_choice(shape, t, static_cast<std::uint64_t>(t / 16 * 2 + head));
  };
  for (const std::int64_t ranked_begin : {640, 643, 647, 651, 699}) {
    SCOPED_TRACE(ranked_begin);
    const Call call = attend(sequence, 633, 67, ranked_begin, choice);
    expect_reference(sequence, call, 633, ranked_begin, choice);
  }
}

TEST_F(InfllmV2Attend, all_blocks_chosen_equals_dense) {
  kernels::Shape shape = small_shape(128);
  DeviceSequence sequence(shape, 450, stream());
  sequence.append(0, 450);
  const Call dense = attend(sequence, 384, 66);
  const auto all = [](std::int64_t t, std::int64_t) { return all_blocks(t); };
  const Call chosen = attend(sequence, 384, 66, 384, all);
  EXPECT_EQ(chosen.out, dense.out);
}

TEST_F(InfllmV2Attend, equals_reference_at_the_sizes_of_the_model) {
  for (const std::int64_t head_dim : {64, 128}) {
    const kernels::Shape shape = model_shape(head_dim);
    const Choice choice = [&](std::int64_t t, std::int64_t head) {
      return random_choice(shape, t, static_cast<std::uint64_t>(t / 16 * 2 + head));
    };
    for (const auto& [start, end] :
         {std::pair{2040, 2049}, {6136, 6145}, {6205, 6212}, {8185, 8193}}) {
      SCOPED_TRACE(end);
      DeviceSequence sequence(shape, end, stream());
      sequence.append(0, end);
      const Call call = attend(sequence, start, end - start, first_ranked(shape), choice);
      expect_reference(sequence, call, start, first_ranked(shape), choice, 3);
    }
  }
}

TEST_F(InfllmV2Attend, blocks_that_were_not_chosen_do_not_leak) {
  const kernels::Shape shape = small_shape(64);
  DeviceSequence sequence(shape, 520, stream());
  const Choice choice = [&](std::int64_t t, std::int64_t) { return with_forced(shape, t, {1, 3}); };
  sequence.append(0, 520);
  const Call clean = attend(sequence, 500, 20, 384, choice);
  std::vector<Bf16Bits> k = sequence.k.download();
  std::vector<Bf16Bits> v = sequence.v.download();
  for (std::int64_t head = 0; head < shape.n_kv_heads; ++head) {
    for (std::int64_t i = 2 * 64 * 64; i < 3 * 64 * 64; ++i) {                  // block 2
      k[static_cast<std::size_t>(head * sequence.capacity * 64 + i)] = 0x7fc0;  // NaN
      v[static_cast<std::size_t>(head * sequence.capacity * 64 + i)] = 0x7fc0;
    }
  }
  sequence.k.upload(k);
  sequence.v.upload(v);
  EXPECT_EQ(attend(sequence, 500, 20, 384, choice).out, clean.out);
  const std::vector<float> q(clean.q.begin() + 10 * shape.q_dim(),
                             clean.q.begin() + 11 * shape.q_dim());
  for (const float value : step(sequence, q, 510, 384, choice)) EXPECT_TRUE(std::isfinite(value));
}

TEST_F(InfllmV2Attend, rows_beyond_the_end_of_the_cache_do_not_leak) {
  // The cache is poisoned where nothing was written: NaN there times a weight of zero is NaN.
  for (const std::int64_t head_dim : {64, 128}) {
    DeviceSequence sequence(small_shape(head_dim), 64, stream());
    sequence.append(0, 3);
    expect_reference(sequence, attend(sequence, 0, 3), 0, kernels::kNever, {});
    const std::vector<float> q = random_rows(1, sequence.shape.q_dim(), 2);
    const Call one{q, step(sequence, q, 2)};
    expect_reference(sequence, one, 2, kernels::kNever, {});
  }
}

TEST_F(InfllmV2Attend, a_later_key_does_not_move_earlier_rows) {
  DeviceSequence sequence(small_shape(64), 128, stream());
  sequence.append(0, 128);
  const Call before = attend(sequence, 90, 38);
  const std::int64_t row = sequence.shape.kv_dim();
  for (std::int64_t c = 0; c < row; ++c) {
    sequence.keys[static_cast<std::size_t>(100 * row + c)] = 100.0F;
    sequence.values[static_cast<std::size_t>(100 * row + c)] = 1e3F;
  }
  sequence.append(100, 101);
  const Call after = attend(sequence, 90, 38);
  const std::int64_t unmoved = 10 * sequence.shape.q_dim();
  EXPECT_TRUE(std::equal(before.out.begin(), before.out.begin() + unmoved, after.out.begin()));
  EXPECT_FALSE(
      std::equal(before.out.begin() + unmoved, before.out.end(), after.out.begin() + unmoved));
}

TEST_F(InfllmV2Attend, large_scores_do_not_overflow) {
  kernels::Shape shape = small_shape(64);
  shape.scale = 50.0F;
  DeviceSequence sequence(shape, 200, stream());
  sequence.append(0, 200);
  const Call call = attend(sequence, 128, 72);
  for (const float value : call.out) ASSERT_TRUE(std::isfinite(value));
}

TEST_F(InfllmV2Attend, rows_do_not_depend_on_the_cut_of_the_prompt) {
  const kernels::Shape shape = small_shape(64);
  DeviceSequence sequence(shape, 1000, stream());
  sequence.append(0, 1000);
  const Choice choice = [&](std::int64_t t, std::int64_t head) {
    return random_choice(shape, t, static_cast<std::uint64_t>(t * 2 + head));
  };
  for (const std::int64_t ranked_begin : {kernels::kNever, first_ranked(shape)}) {
    const Call whole = attend(sequence, 900, 100, ranked_begin, choice);
    // The same queries: they are drawn from the start of the call.
    for (const std::int64_t n : {1, 3, 4, 13, 63}) {
      const Call part = attend(sequence, 900, n, ranked_begin, choice);
      EXPECT_TRUE(std::equal(part.out.begin(), part.out.end(), whole.out.begin())) << n;
    }
  }
}

TEST_F(InfllmV2Attend, a_step_equals_reference) {
  for (const std::int64_t head_dim : {64, 128}) {
    const kernels::Shape shape = small_shape(head_dim);
    DeviceSequence sequence(shape, 3000, stream());
    sequence.append(0, 3000);
    const Choice choice = [&](std::int64_t t, std::int64_t head) {
      return random_choice(shape, t, static_cast<std::uint64_t>(t * 2 + head));
    };
    for (const std::int64_t t : {0, 15, 63, 64, 383, 384, 1023, 2048, 2999}) {
      SCOPED_TRACE(t);
      const std::vector<float> q =
          random_rows(1, shape.q_dim(), static_cast<std::uint64_t>(t), 2.0F);
      const Call dense{q, step(sequence, q, t)};
      expect_reference(sequence, dense, t, kernels::kNever, {});
      const Call chosen{q, step(sequence, q, t, 384, choice)};
      expect_reference(sequence, chosen, t, 384, choice);
    }
  }
}

}  // namespace
}  // namespace sala::testing
