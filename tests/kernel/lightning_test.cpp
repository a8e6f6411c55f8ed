// Linear attention on the CPU against the fp64 recurrence, and the laws of its state.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/lightning/lightning.h"

#include "tests/layer_runner.h"

namespace sala::testing {
namespace {

nlohmann::json options(std::int64_t n_heads, std::int64_t n_kv_heads, std::int64_t head_dim,
                       bool extras = true) {
  nlohmann::json json = {{"n_heads", n_heads},    {"n_kv_heads", n_kv_heads},
                         {"head_dim", head_dim},  {"scale", 1.0 / std::sqrt(head_dim)},
                         {"rms_norm_eps", 1e-6},  {"rope", nullptr},
                         {"output_gate", extras}, {"qk_norm", extras},
                         {"output_norm", extras}};
  if (extras) json["rope"] = {{"theta", 10000.0}, {"exact_angle", true}};
  return json;
}

void expect_reference(LayerUnderTest& test, std::int64_t n_tokens,
                      const std::vector<std::int64_t>& chunks) {
  const std::vector<float> x = test.input(n_tokens);
  expect_close(test.run(x, chunks),
               lightning_reference(test.spec, test.weights.reference(), widened(x)),
               tolerance::kLinear);
}

TEST(Lightning, equals_the_recurrence_at_every_length) {
  for (const int threads : {1, 3}) {
    LayerUnderTest test("lightning", options(3, 3, 16), threads);
    for (const std::int64_t n : {1, 7, 8, 15, 16, 17, 31, 63, 64, 65, 127, 128, 129, 1000}) {
      SCOPED_TRACE(n);
      expect_reference(test, n, {n});
    }
  }
}

TEST(Lightning, equals_the_recurrence_for_every_head_layout) {
  for (const std::int64_t group : {1, 3, 16}) {
    for (const std::int64_t head_dim : {6, 32, 64, 80, 128}) {
      for (const bool extras : {false, true}) {
        SCOPED_TRACE(group * 1000 + head_dim);
        LayerUnderTest test("lightning", options(2 * group, 2, head_dim, extras));
        expect_reference(test, 75, {75});
      }
    }
  }
}

TEST(Lightning, token_by_token_equals_the_recurrence) {
  LayerUnderTest test("lightning", options(4, 4, 32));
  expect_reference(test, 150, std::vector<std::int64_t>(150, 1));
}

TEST(Lightning, chunked_prefill_equals_one_shot) {
  LayerUnderTest test("lightning", options(8, 8, 16));
  const std::int64_t n = 600;
  const std::vector<float> x = test.input(n);
  const std::vector<float> whole = test.run(x, {n});
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    expect_close(test.run(x, random_chunks(n, 10 << seed, seed)), whole, tolerance::kLinear);
  }
}

TEST(Lightning, decode_equals_prefill) {
  LayerUnderTest test("lightning", options(5, 5, 32));
  const std::int64_t n = 400;
  const std::vector<float> x = test.input(n);
  std::vector<std::int64_t> chunks{333};
  chunks.resize(68, 1);
  expect_close(test.run(x, chunks), test.run(x, {n}), tolerance::kLinear);
}

TEST(Lightning, clone_clear_and_continue_are_exact) {
  LayerUnderTest test("lightning", options(4, 4, 16));
  expect_state_laws(test, 301);
}

TEST(Lightning, state_has_one_size_at_every_length) {
  LayerUnderTest test("lightning", options(4, 4, 16));
  expect_planned_bytes(test, 1);
  expect_planned_bytes(test, 1 << 20);
  EXPECT_EQ(test.layer->state_bytes(1).at(0).bytes, test.layer->state_bytes(1 << 20).at(0).bytes);
  EXPECT_EQ(test.layer->state_bytes(1).at(0).category, "linear_state");
}

TEST(Lightning, slopes_are_those_of_the_reference) {
  const std::vector<double> slopes = lightning_slopes(32);
  EXPECT_DOUBLE_EQ(slopes.at(0), 0.8408964152537145);
  EXPECT_DOUBLE_EQ(slopes.at(3), 0.5);
  EXPECT_DOUBLE_EQ(slopes.at(31), 0.00390625);
  double windows = 0;  // tokens after which the start of a state is below 2^-24
  for (const double slope : slopes) windows += std::ceil(24 * std::log(2.0) / slope);
  EXPECT_EQ(windows, 26680);
}

TEST(Lightning, slopes_of_other_counts_continue_with_every_second_of_the_double) {
  const std::vector<double> four = lightning_slopes(4);
  const std::vector<double> eight = lightning_slopes(8);
  const std::vector<double> six = lightning_slopes(6);
  ASSERT_EQ(six.size(), 6U);
  for (std::size_t h = 0; h < 4; ++h) EXPECT_DOUBLE_EQ(six[h], four[h]);
  EXPECT_DOUBLE_EQ(six[4], eight[0]);
  EXPECT_DOUBLE_EQ(six[5], eight[2]);
}

TEST(Lightning, route_names_what_ran) {
  LayerUnderTest test("lightning", options(4, 4, 16));
  test.run(test.input(21), {20, 1});
  ASSERT_EQ(test.route.entries().size(), 2U);
  EXPECT_EQ(test.route.entries()[0].path, "linear");
  EXPECT_EQ(test.route.entries()[0].kernel, "lightning_chunk_cpu");
  EXPECT_EQ(test.route.entries()[1].kernel, "lightning_recurrent_cpu");
}

}  // namespace
}  // namespace sala::testing
