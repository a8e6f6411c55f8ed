// Linear attention over many tokens on the GPU against the fp64 recurrence, and its laws.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/lightning/cuda/prefill.h"

#include "engine/attention/lightning/cuda/tiles.h"
#include "tests/kernel/cuda/lightning_fixture.h"

namespace sala::testing {
namespace {

class LightningPrefill : public DeviceTest {
 protected:
  void expect_recurrence(const LinearInput& in, const LinearResult& result) {
    const LinearExpected expected = linear_recurrence(in);
    expect_within(result.out, expected.out, tolerance::kAttentionOutput);
    expect_within(result.state, expected.state, kStateBounds);
  }
};

TEST_F(LightningPrefill, equals_the_recurrence_at_every_length) {
  for (const std::int64_t head_dim : {64, 128}) {
    for (const std::int64_t n : {1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 200}) {
      SCOPED_TRACE(head_dim * 1000 + n);
      const LinearInput in({4, 4, head_dim}, 0, n);
      expect_recurrence(in, run_linear(in, stream()));
    }
  }
}

TEST_F(LightningPrefill, continues_a_history_at_every_offset_within_a_tile) {
  for (const std::int64_t start : {1, 17, 63, 64, 100, 2047, 2048}) {
    for (const std::int64_t n : {1, 30, 64, 95}) {
      SCOPED_TRACE(start * 1000 + n);
      const LinearInput in({2, 2, 64}, start, n);
      expect_recurrence(in, run_linear(in, stream()));
    }
  }
}

TEST_F(LightningPrefill, equals_the_recurrence_over_several_segments) {
  // The fastest heads forget most of a segment, the slowest none of it.
  const LinearInput in({8, 8, 64}, 1990, 4300);
  expect_recurrence(in, run_linear(in, stream()));
  const LinearInput wide({2, 2, 128}, 0, 4100);
  expect_recurrence(wide, run_linear(wide, stream()));
}

TEST_F(LightningPrefill, equals_the_recurrence_for_every_head_layout) {
  for (const LinearShape shape : {LinearShape{1, 1, 64}, {2, 1, 128}, {16, 4, 64}, {32, 32, 64}}) {
    SCOPED_TRACE(shape.n_heads);
    const LinearInput in(shape, 40, 150);
    expect_recurrence(in, run_linear(in, stream()));
  }
}

TEST_F(LightningPrefill, result_may_replace_the_queries) {
  const LinearInput in({4, 4, 128}, 5, 333);
  const LinearResult apart = run_linear(in, stream());
  const LinearResult in_place = run_linear(in, stream(), {}, true);
  EXPECT_EQ(in_place.out, apart.out);
  EXPECT_EQ(in_place.state, apart.state);
}

TEST_F(LightningPrefill, two_runs_give_the_same_bits) {
  const LinearInput in({4, 4, 64}, 100, 2500);
  run_twice([&] { return run_linear(in, stream()).out; });
  run_twice([&] { return run_linear(in, stream()).state; });
}

TEST_F(LightningPrefill, chunked_equals_one_shot) {
  const LinearInput in({4, 4, 64}, 0, 2600);
  const LinearResult whole = run_linear(in, stream());
  for (const std::vector<std::int64_t>& cuts :
       {std::vector<std::int64_t>{1}, {64, 65, 2048}, {1000, 2000}, {2047, 2049, 2599}}) {
    const LinearResult cut = run_linear(in, stream(), cuts);
    expect_within(cut.out, whole.out, tolerance::kAttentionOutput);
    expect_within(cut.state, whole.state, kStateBounds);
  }
}

TEST_F(LightningPrefill, rows_of_a_segment_have_the_same_bits_however_it_is_cut_at_tiles) {
  const LinearInput in({4, 4, 64}, 0, 1000);
  const LinearResult whole = run_linear(in, stream());
  const LinearResult cut = run_linear(in, stream(), {64, 640});
  EXPECT_EQ(cut.out, whole.out);
  EXPECT_EQ(cut.state, whole.state);
}

TEST_F(LightningPrefill, largest_state_is_exact_enough) {
  LinearInput in({4, 4, 128}, 0, 2200);
  std::fill(in.k.begin(), in.k.end(), 1.0F);
  std::fill(in.v.begin(), in.v.end(), 3.0F);
  expect_recurrence(in, run_linear(in, stream()));
}

TEST_F(LightningPrefill, a_spike_just_before_what_a_head_remembers_does_not_matter) {
  // Values of 1e4 one token before the part of the first segment that its state remembers.
  LinearInput in({8, 8, 64}, 0, 2100);
  const std::vector<float> slopes = slopes_log2(8);
  for (std::int64_t h = 0; h < 8; ++h) {
    const auto kept =
        kernels::remembered({0, kernels::kSegment}, slopes.at(static_cast<std::size_t>(h)));
    if (kept.first == 0) continue;
    const auto at = static_cast<std::size_t>((kept.first - 1) * in.shape.kv_dim() + h * 64);
    std::fill_n(in.v.begin() + static_cast<std::ptrdiff_t>(at), 64, 1e4F);
  }
  in.v = rounded_to_bf16(in.v);
  const LinearExpected expected = linear_recurrence(in);
  const LinearResult result = run_linear(in, stream());
  // Rows of the second segment see the spikes only through the carried state.
  const auto second = static_cast<std::ptrdiff_t>(kernels::kSegment * in.shape.q_dim());
  expect_within(std::vector<float>(result.out.begin() + second, result.out.end()),
                std::vector<double>(expected.out.begin() + second, expected.out.end()),
                tolerance::kAttentionOutput);
  expect_within(result.state, expected.state, kStateBounds);
}

TEST_F(LightningPrefill, a_later_token_moves_nothing_before_it) {
  LinearInput in({2, 2, 64}, 0, 300);
  const LinearResult before = run_linear(in, stream());
  const std::int64_t changed = 170;
  for (std::vector<float>* x : {&in.q, &in.k, &in.v}) {
    std::fill(x->begin() + changed * in.shape.q_dim(), x->end(), 100.0F);
  }
  const LinearResult after = run_linear(in, stream());
  const auto same = static_cast<std::size_t>(changed * in.shape.q_dim());
  EXPECT_TRUE(std::equal(before.out.begin(), before.out.begin() + static_cast<std::ptrdiff_t>(same),
                         after.out.begin()));
  EXPECT_NE(before.state, after.state);
}

TEST_F(LightningPrefill, refuses_a_head_dim_without_kernel) {
  EXPECT_EQ(kernels::launch_prefill({.n_tokens = 1, .n_heads = 1, .n_kv_heads = 1, .head_dim = 96},
                                    stream()),
            cudaErrorInvalidValue);
}

TEST_F(LightningPrefill, cost_counts_every_byte_once) {
  const Cost cost =
      kernels::prefill_cost({.n_tokens = 262144, .n_heads = 32, .n_kv_heads = 32, .head_dim = 128});
  EXPECT_NEAR(cost.bytes, 262144.0 * 32768, 1e8);
  EXPECT_NEAR(cost.flops / 262144, 32 * (4.0 * 64 * 128 + 4 * 128 * 128), 1);
}

}  // namespace
}  // namespace sala::testing
