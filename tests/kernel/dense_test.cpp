// Full softmax attention on the CPU against fp64, and the laws of its state.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/dense/dense.h"

#include "engine/base/error.h"
#include "tests/layer_runner.h"

namespace sala::testing {
namespace {

nlohmann::json options(std::int64_t n_heads, std::int64_t n_kv_heads, std::int64_t head_dim,
                       bool extras = false) {
  nlohmann::json json = {{"n_heads", n_heads},    {"n_kv_heads", n_kv_heads},
                         {"head_dim", head_dim},  {"scale", 1.0 / std::sqrt(head_dim)},
                         {"rms_norm_eps", 1e-6},  {"rope", nullptr},
                         {"output_gate", extras}, {"qk_norm", extras}};
  if (extras) json["rope"] = {{"theta", 10000.0}};
  return json;
}

void expect_reference(LayerUnderTest& test, std::int64_t n_tokens) {
  const std::vector<float> x = test.input(n_tokens);
  expect_close(test.run(x, {n_tokens}),
               dense_reference(test.spec, test.weights.reference(), widened(x)),
               tolerance::kSoftmax);
}

TEST(Dense, equals_reference_at_every_length) {
  for (const int threads : {1, 3}) {
    LayerUnderTest test("dense", options(3, 1, 16), threads);
    for (const std::int64_t n : {1, 15, 16, 17, 31, 63, 64, 65, 127, 128, 129, 1000}) {
      SCOPED_TRACE(n);
      expect_reference(test, n);
    }
  }
}

TEST(Dense, equals_reference_for_every_group_and_head_dim) {
  for (const std::int64_t group : {1, 2, 3, 16, 300}) {
    for (const std::int64_t head_dim : {6, 32, 64, 80, 128}) {
      if (group == 300 && head_dim != 6) continue;
      SCOPED_TRACE(group * 1000 + head_dim);
      LayerUnderTest test("dense", options(2 * group, 2, head_dim, true));
      expect_reference(test, 70);
    }
  }
}

TEST(Dense, chunked_prefill_equals_one_shot) {
  LayerUnderTest test("dense", options(8, 2, 16, true));
  const std::int64_t n = 500;
  const std::vector<float> x = test.input(n);
  const std::vector<float> whole = test.run(x, {n});
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    expect_close(test.run(x, random_chunks(n, 10 << seed, seed)), whole, tolerance::kChunking);
  }
}

TEST(Dense, decode_equals_prefill) {
  for (const int threads : {1, 2, 5}) {
    LayerUnderTest test("dense", options(6, 2, 32), threads);
    const std::int64_t n = 4136;  // enough blocks that several threads share one row
    const std::vector<float> x = test.input(n);
    std::vector<std::int64_t> chunks{4096, 3, 17};
    chunks.resize(23, 1);
    expect_close(test.run(x, chunks), test.run(x, {n}), tolerance::kChunking);
  }
}

TEST(Dense, rows_do_not_depend_on_the_length_of_the_call) {
  LayerUnderTest test("dense", options(4, 1, 16));
  const std::vector<float> x = test.input(384);
  const std::vector<float> whole = test.run(x, {384});
  EXPECT_EQ(whole, test.run(x, {384})) << "the same call twice";
  expect_close(test.run(x, {128, 256}), whole, tolerance::kChunking);
}

TEST(Dense, clone_clear_and_continue_are_exact) {
  LayerUnderTest test("dense", options(4, 2, 16));
  expect_state_laws(test, 301);
}

TEST(Dense, state_takes_the_bytes_it_announces) {
  LayerUnderTest test("dense", options(4, 2, 16));
  for (const std::int64_t n : {1, 64, 65, 4096}) expect_planned_bytes(test, n);
  EXPECT_EQ(test.layer->state_bytes(4096).at(0).category, "kv_full");
  EXPECT_EQ(test.layer->state_bytes(4096).at(0).bytes, 4096 * 2 * 2 * 16 * 4);
}

TEST(Dense, a_full_state_refuses_more) {
  LayerUnderTest test("dense", options(4, 2, 16));
  const auto state = test.layer->new_state(10);
  test.run(*state, test.input(10), {10}, 10, 10);
  EXPECT_THROW(test.run(*state, test.input(1), {1}, 11, 11), Error);
}

TEST(Dense, route_counts_the_visible_blocks) {
  LayerUnderTest test("dense", options(4, 2, 16));
  test.run(test.input(130), {130});
  ASSERT_EQ(test.route.entries().size(), 1U);
  const RouteEntry& entry = test.route.entries().front();
  EXPECT_EQ(entry.path, "dense");
  EXPECT_EQ(entry.phase, "prefill");
  EXPECT_EQ(entry.blocks_read, 2 * (128 * 1 + 2 * 2)) << "blocks of 128 keys";
  EXPECT_EQ(entry.blocks_visible, entry.blocks_read);
}

}  // namespace
}  // namespace sala::testing
