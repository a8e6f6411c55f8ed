// Block-sparse attention on the CPU against fp64, and the laws of its state.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/infllm_v2.h"

#include "engine/attention/dense/dense.h"
#include "tests/layer_runner.h"

namespace sala::testing {
namespace {

struct Shape {
  std::int64_t group = 3;
  std::int64_t head_dim = 16;
  std::int64_t stride = 4;
  std::int64_t topk = 4;
  std::int64_t dense_len = 0;
  nlohmann::json more = nlohmann::json::object();
};

/// Two KV heads; blocks of 4 strides, 1 forced first block, 2 local ones beside the current.
nlohmann::json options(const Shape& shape) {
  nlohmann::json json = {{"n_heads", 2 * shape.group},
                         {"n_kv_heads", 2},
                         {"head_dim", shape.head_dim},
                         {"scale", 2.0 / std::sqrt(shape.head_dim)},
                         {"rms_norm_eps", 1e-6},
                         {"rope", nullptr},
                         {"output_gate", true},
                         {"select_score", "fp32"},
                         {"sparse",
                          {{"kernel_size", 2 * shape.stride},
                           {"kernel_stride", shape.stride},
                           {"init_blocks", 1},
                           {"block_size", 4 * shape.stride},
                           {"window_size", 8 * shape.stride},
                           {"topk", shape.topk},
                           {"dense_len", shape.dense_len}}}};
  json.update(shape.more);
  return json;
}

/// Compares the rows whose choice of blocks is beyond doubt; most must be.
void expect_reference(LayerUnderTest& test, std::int64_t n_tokens,
                      const std::vector<std::int64_t>& chunks, double least_certain = 0.95) {
  const std::vector<float> x = test.input(n_tokens);
  const InfllmV2Reference expected =
      infllm_v2_reference(test.spec, test.weights.reference(), widened(x), n_tokens);
  std::int64_t n_certain = 0;
  const auto certain = [&](std::int64_t t) {
    const auto first = static_cast<std::size_t>(2 * t);
    return expected.certain[first] && expected.certain[first + 1];
  };
  for (std::int64_t t = 0; t < n_tokens; ++t) n_certain += certain(t) ? 1 : 0;
  EXPECT_GE(static_cast<double>(n_certain), least_certain * static_cast<double>(n_tokens));
  expect_close(rows_where(test.run(x, chunks), test.hidden, certain),
               rows_where(expected.out, test.hidden, certain), tolerance::kSoftmax);
}

TEST(InfllmV2, equals_reference_at_every_length) {
  for (const int threads : {1, 3}) {
    LayerUnderTest test("infllm_v2", options({}), threads);
    for (const std::int64_t n : {1, 15, 16, 17, 31, 63, 64, 65, 95, 96, 97, 127, 128, 129, 1000}) {
      SCOPED_TRACE(n);
      expect_reference(test, n, {n});
    }
  }
}

TEST(InfllmV2, equals_reference_for_every_group_and_head_dim) {
  for (const std::int64_t group : {1, 2, 3, 16}) {
    for (const std::int64_t head_dim : {32, 64, 80, 128}) {
      SCOPED_TRACE(group * 1000 + head_dim);
      LayerUnderTest test("infllm_v2", options({.group = group, .head_dim = head_dim}));
      expect_reference(test, 200, {200});
    }
  }
}

TEST(InfllmV2, equals_reference_for_odd_strides_and_no_ranked_slots) {
  LayerUnderTest odd("infllm_v2", options({.stride = 3, .topk = 3}));
  expect_reference(odd, 260, {260});
  LayerUnderTest forced_only("infllm_v2", options({.topk = 2}));
  expect_reference(forced_only, 260, {260});
}

TEST(InfllmV2, equals_reference_for_every_way_to_score) {
  for (const char* lse : {"approx", "exact"}) {
    for (const char* score : {"bf16", "fp32"}) {
      SCOPED_TRACE(std::string(lse) + score);
      LayerUnderTest test("infllm_v2", options({.more = {{"lse", lse}, {"select_score", score}}}));
      expect_reference(test, 500, {500}, 0.8);
    }
  }
}

TEST(InfllmV2, rotated_and_normed_heads_equal_reference) {
  LayerUnderTest test("infllm_v2",
                      options({.more = {{"rope", {{"theta", 10000.0}}}, {"qk_norm", true}}}));
  expect_reference(test, 300, {300});
}

TEST(InfllmV2, chunked_prefill_equals_one_shot) {
  for (const char* rule : {"request", "row"}) {
    LayerUnderTest test("infllm_v2", options({.dense_len = 300, .more = {{"dense_rule", rule}}}));
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      expect_reference(test, 500, random_chunks(500, 20 << (2 * seed), seed));
    }
  }
}

TEST(InfllmV2, scores_that_are_kept_in_several_slabs_choose_the_same_blocks) {
  // 9000 rows × 2 heads × 2250 blocks are more scores than are kept at a time; 1000 rows are not.
  LayerUnderTest test("infllm_v2", options({.group = 1, .head_dim = 8, .stride = 1}), 2, 8);
  const std::int64_t n = 9000;
  const std::vector<float> x = test.input(n);
  const std::vector<float> whole = test.run(x, {n});
  const std::vector<float> parts = test.run(x, std::vector<std::int64_t>(9, 1000));
  std::int64_t n_different = 0;  // a near tie may fall the other way
  for (std::int64_t t = 0; t < n; ++t) {
    float worst = 0;
    for (std::int64_t c = 0; c < test.hidden; ++c) {
      const auto i = static_cast<std::size_t>(t * test.hidden + c);
      worst = std::max(worst, std::abs(whole[i] - parts[i]));
    }
    n_different += worst > 1e-4F ? 1 : 0;
  }
  EXPECT_LE(n_different, n / 200);
}

TEST(InfllmV2, decode_equals_prefill_when_the_rule_sees_only_the_row) {
  for (const std::int64_t dense_len : {0, 256}) {
    LayerUnderTest test("infllm_v2",
                        options({.dense_len = dense_len, .more = {{"dense_rule", "row"}}}), 3);
    std::vector<std::int64_t> chunks{240};
    chunks.resize(41, 1);
    expect_reference(test, 280, chunks);
  }
}

TEST(InfllmV2, all_blocks_selected_equals_dense) {
  LayerUnderTest sparse("infllm_v2", options({.topk = 1000}));
  LayerUnderTest dense("dense", options({.topk = 1000}));
  const std::vector<float> x = sparse.input(700);
  expect_close(sparse.run(x, {700}), dense.run(x, {700}), tolerance::kSoftmax);
}

TEST(InfllmV2, rows_that_see_no_more_than_the_selection_equal_dense) {
  LayerUnderTest sparse("infllm_v2", options({}));
  LayerUnderTest off("infllm_v2", options({.more = {{"sparse_on", false}}}));
  const std::vector<float> x = sparse.input(200);
  const std::vector<float> a = sparse.run(x, {200});
  const std::vector<float> b = off.run(x, {200});
  const auto rows = static_cast<std::ptrdiff_t>(96 * sparse.hidden);
  EXPECT_TRUE(std::equal(a.begin(), a.begin() + rows, b.begin()));
  EXPECT_FALSE(std::equal(a.begin(), a.end(), b.begin()));
}

TEST(InfllmV2, the_request_rule_looks_at_the_whole_prompt) {
  LayerUnderTest sparse("infllm_v2", options({.dense_len = 200}));
  const std::vector<float> x = sparse.input(200);
  sparse.run(x, {120, 80});
  ASSERT_EQ(sparse.route.entries().size(), 1U);
  EXPECT_EQ(sparse.route.entries()[0].path, "sparse");
  const RouteEntry& entry = sparse.route.entries()[0];
  std::int64_t read = 0;
  std::int64_t visible = 0;
  for (std::int64_t t = 0; t < 200; ++t) {
    visible += 2 * (t / 16 + 1);
    read += 2 * std::min<std::int64_t>(t / 16 + 1, 6);
  }
  EXPECT_EQ(entry.blocks_read, read);
  EXPECT_EQ(entry.blocks_visible, visible);
  sparse.route.clear();
  sparse.run(sparse.input(199), {199});
  EXPECT_EQ(sparse.route.entries().at(0).path, "dense");
  EXPECT_EQ(sparse.route.entries().at(0).blocks_read, sparse.route.entries().at(0).blocks_visible);
}

TEST(InfllmV2, clone_clear_and_continue_are_exact) {
  LayerUnderTest test("infllm_v2", options({}));
  expect_state_laws(test, 301);
}

TEST(InfllmV2, state_takes_the_bytes_it_announces) {
  LayerUnderTest test("infllm_v2", options({}));
  for (const std::int64_t n : {1, 31, 32, 4096}) expect_planned_bytes(test, n);
}

TEST(InfllmV2, equal_scores_go_to_the_lower_block) {
  InfllmV2Config config;
  config.stride = 4;
  config.init_blocks = 1;
  config.local_blocks = 2;
  config.topk = 4;  // two ranked slots
  const std::int64_t t = 16 * 9;
  std::vector<float> scores(7);
  std::vector<float> scratch(7);
  std::vector<std::int32_t> blocks(6);
  const auto chosen = [&](std::vector<float> candidates) {
    std::copy(candidates.begin(), candidates.end(), scores.begin() + 1);
    EXPECT_EQ(select_blocks(config, t, scores.data(), scratch.data(), blocks.data()), 6);
    return blocks;
  };
  using List = std::vector<std::int32_t>;
  EXPECT_EQ(chosen({1, 1, 1, 1, 1, 1}), (List{0, 1, 2, 7, 8, 9}));
  EXPECT_EQ(chosen({1, 2, 1, 3, 2, 2}), (List{0, 2, 4, 7, 8, 9}));
  EXPECT_EQ(chosen({0, 0, 0, 0, 0, INFINITY}), (List{0, 1, 6, 7, 8, 9}));
}

TEST(InfllmV2, published_counts_of_blocks_and_keys_hold) {
  const InfllmV2Config config;  // the 9B model's: 1 + 62 + 33 blocks of 64
  std::vector<std::int32_t> blocks(static_cast<std::size_t>(config.n_selected()));
  std::vector<float> scratch(400);
  const std::vector<float> scores = random_floats(400, 1);
  const auto count = [&](std::int64_t t) {
    return select_blocks(config, t, scores.data(), scratch.data(), blocks.data());
  };
  const auto keys = [&](std::int64_t t) { return (count(t) - 1) * 64 + t % 64 + 1; };
  EXPECT_EQ(count(63), 1);
  EXPECT_EQ(count(6143), 96);
  EXPECT_EQ(count(6144), 96);
  EXPECT_EQ(count(11999), 96);
  EXPECT_EQ(blocks.front(), 0);
  EXPECT_EQ(blocks.back(), 187);
  EXPECT_EQ(std::count_if(blocks.begin(), blocks.end(), [](int b) { return b >= 187 - 32; }), 33);
  EXPECT_EQ(keys(6143), 6144);
  EXPECT_EQ(keys(6144), 6081);
  EXPECT_EQ(keys(6207), 6144);
  EXPECT_EQ(keys(6208), 6081);
  EXPECT_EQ(keys(6999), 6104);
}

TEST(InfllmV2, dense_rules_are_those_of_the_reference) {
  InfllmV2Config config;
  EXPECT_FALSE(config.is_sparse(7000, 8191));
  EXPECT_TRUE(config.is_sparse(7000, 8192));
  EXPECT_TRUE(config.is_sparse(8191, 100));
  config.dense_rule_row = true;
  EXPECT_FALSE(config.is_sparse(8190, 8192));
  EXPECT_TRUE(config.is_sparse(8191, 8192));
  config.dense_len = -1;
  EXPECT_TRUE(config.is_sparse(0, 1));
  config.sparse_on = false;
  EXPECT_FALSE(config.is_sparse(100000, 100000));
}

TEST(InfllmV2, compressed_keys_appear_on_time_and_equal_direct_means) {
  const auto backend = make_backend("cpu", 2);
  InfllmV2Config config;
  config.heads = {.n_heads = 2, .n_kv_heads = 2, .head_dim = 8};
  EXPECT_EQ(config.n_k1(8192), 511);
  EXPECT_EQ(config.n_k2(8192), 127);
  EXPECT_EQ(config.n_k1(1048576), 65535);
  EXPECT_EQ(config.n_k2(1048576), 16383);
  const std::int64_t n = 1200;
  std::vector<float> k = random_floats(n * 16, 5);
  CompressedKeys keys(*backend, config, n);
  std::int64_t done = 0;
  for (const std::int64_t chunk : random_chunks(n, 90, 4)) {
    keys.append_cpu({k.data() + done * 16, DType::f32, chunk, 16}, done, 2);
    done += chunk;
  }
  for (std::int64_t t = 0; t < n; ++t) {
    EXPECT_EQ(config.n_k1(t + 1) - config.n_k1(t), t >= 31 && (t + 1) % 16 == 0 ? 1 : 0);
    EXPECT_EQ(config.n_k2(t + 1) - config.n_k2(t), t >= 127 && (t + 1) % 64 == 0 ? 1 : 0);
  }
  const auto expect_mean = [&](const float* tile, std::int64_t j, std::int64_t head,
                               std::int64_t first, std::int64_t width) {
    for (std::int64_t c = 0; c < 8; ++c) {
      double mean = 0;
      for (std::int64_t t = first; t < first + width; ++t) {
        mean += static_cast<double>(k[static_cast<std::size_t>(t * 16 + head * 8 + c)]);
      }
      EXPECT_NEAR(static_cast<double>(tile[c * 64 + j % 64]), mean / static_cast<double>(width),
                  tolerance::kWindowMean);
    }
  };
  for (std::int64_t head = 0; head < 2; ++head) {
    for (std::int64_t j = 0; j < config.n_k1(n); ++j) {
      expect_mean(keys.k1(head, j / 64), j, head, 16 * j, 32);
    }
    for (std::int64_t j = 0; j < config.n_k2(n); ++j) {
      expect_mean(keys.k2(head, j / 64), j, head, 64 * j, 128);
    }
  }
}

TEST(InfllmV2, weights_of_windows_add_up_to_about_four) {
  InfllmV2Config config;
  config.heads = {.n_heads = 1, .n_kv_heads = 1, .head_dim = 128, .scale = 0.08838835F};
  const std::int64_t n = 4096;
  ReferenceHeads heads;
  heads.q = widened(random_floats(n * 128, 1));
  heads.k = widened(random_floats(n * 128, 2));
  double total = 0;
  for (const double p : infllm_v2_window_weights(config, heads, n - 1, 0)) total += p;
  EXPECT_NEAR(total, 4.08, 0.1);
}

}  // namespace
}  // namespace sala::testing
