// Samples of how blocks were chosen, as a request asks for them and an answer brings them.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <tuple>

#include "engine/engine.h"
#include "tests/expect_error.h"
#include "tests/tiny_model.h"

namespace sala::testing {
namespace {

constexpr std::int64_t kVocab = 300;

class EngineSelection : public ::testing::Test {
 protected:
  EngineSelection() { write_tiny_model(folder_.path()); }
  EngineOptions options(std::int64_t chunk = 64) const {
    EngineOptions options;
    options.model = folder_.path();
    options.chunk = chunk;
    options.threads = 1;
    return options;
  }
  /// A prompt and a forced answer of 10 tokens.
  static Request request(std::int64_t n_prompt) {
    return {.prompt = random_ids(n_prompt, kVocab, 3),
            .max_new_tokens = 10,
            .forced = random_ids(10, kVocab, 4)};
  }
  TempFolder folder_;
};

TEST_F(EngineSelection, every_position_of_every_sparse_layer_is_sampled_in_order) {
  Request some = request(300);
  some.selection = {{0, 63, 64, 127, 200, 299, 300, 304, 308}, {{20, 40}, {250, 251}}};
  const auto samples = make_engine(options())->run(some).selection;
  std::vector<std::tuple<int, std::int64_t, int>> places;
  std::vector<std::tuple<int, std::int64_t, int>> expected;
  for (const int layer : {0, 3}) {
    for (const std::int64_t position : some.selection.positions) {
      for (const int head : {0, 1}) expected.emplace_back(layer, position, head);
    }
  }
  for (const SelectionSample& sample : samples) {
    places.emplace_back(sample.layer, sample.position, sample.kv_head);
    EXPECT_EQ(sample.blocks_visible, sample.position / 16 + 1);
    EXPECT_EQ(sample.blocks_read, std::min<std::int64_t>(sample.blocks_visible, 6));
    EXPECT_EQ(sample.needle_hit.has_value(), sample.position > 20);
    EXPECT_LE(sample.mass_recall, sample.mass_oracle + 1e-12);
    if (sample.blocks_visible <= 6) {
      EXPECT_NEAR(sample.mass_recall, 1, 1e-12);
      EXPECT_LT(sample.out_rel_l2, 1e-5);
    } else {
      EXPECT_LT(sample.mass_oracle, 1);
      EXPECT_GT(sample.out_rel_l2, 1e-3);
    }
  }
  EXPECT_EQ(places, expected);
}

TEST_F(EngineSelection, chunk_size_does_not_matter) {
  Request some = request(300);
  some.selection = {{5, 96, 128, 255, 256, 298, 299, 301, 305}, {{100, 130}}};
  const auto expected = make_engine(options(64))->run(some).selection;
  for (const std::int64_t chunk : {128, 512}) {
    const auto samples = make_engine(options(chunk))->run(some).selection;
    ASSERT_EQ(samples.size(), expected.size());
    for (std::size_t i = 0; i < samples.size(); ++i) {
      EXPECT_EQ(samples[i].layer, expected[i].layer);
      EXPECT_EQ(samples[i].position, expected[i].position);
      EXPECT_EQ(samples[i].topk_recall, expected[i].topk_recall);
      EXPECT_EQ(samples[i].needle_hit, expected[i].needle_hit);
      EXPECT_NEAR(samples[i].mass_recall, expected[i].mass_recall, 1e-4);
      EXPECT_NEAR(samples[i].mass_oracle, expected[i].mass_oracle, 1e-4);
      EXPECT_NEAR(samples[i].out_rel_l2, expected[i].out_rel_l2, 1e-4);
      EXPECT_NEAR(samples[i].out_cos, expected[i].out_cos, 1e-4);
    }
  }
}

TEST_F(EngineSelection, sampling_changes_no_answer_before_or_after) {
  Request plain{.prompt = random_ids(200, kVocab, 5), .max_new_tokens = 8, .forced = {}};
  plain.prompt_logprobs = true;
  Request sampled = plain;
  sampled.selection = {{150, 199, 200, 203}, {}};
  const Output expected = make_engine(options())->run(plain);
  const auto engine = make_engine(options());
  for (const Request* request : {&sampled, &plain, &sampled, &plain}) {
    const Output output = engine->run(*request);
    EXPECT_EQ(output.tokens, expected.tokens);
    EXPECT_EQ(output.prompt_logprobs, expected.prompt_logprobs);
    EXPECT_EQ(output.peak_bytes, expected.peak_bytes);
    EXPECT_EQ(output.selection.empty(), request == &plain);
  }
}

TEST_F(EngineSelection, forced_needles_are_read_in_place_of_other_blocks) {
  Request some = request(300);
  some.prompt_logprobs = true;
  for (std::int64_t t = 130; t < 309; ++t) some.selection.positions.push_back(t);
  some.selection.needles = {{60, 61}, {290, 300}};
  const Output chosen = make_engine(options())->run(some);
  some.selection.force_needles = true;
  const Output forced = make_engine(options())->run(some);
  ASSERT_EQ(forced.selection.size(), chosen.selection.size());
  std::int64_t n_missed = 0;
  for (std::size_t i = 0; i < forced.selection.size(); ++i) {
    EXPECT_EQ(forced.selection[i].needle_hit, 1.0);
    EXPECT_EQ(forced.selection[i].blocks_read, chosen.selection[i].blocks_read);
    n_missed += chosen.selection[i].needle_hit < 1.0 ? 1 : 0;
  }
  EXPECT_GT(n_missed, 0);
  EXPECT_NE(forced.prompt_logprobs, chosen.prompt_logprobs);
  some.selection.positions.clear();
  const Output unseen = make_engine(options())->run(some);
  EXPECT_EQ(unseen.prompt_logprobs, forced.prompt_logprobs);
  EXPECT_TRUE(unseen.selection.empty());
}

TEST_F(EngineSelection, a_dense_prompt_reads_all_its_blocks) {
  Request some = request(110);
  some.selection = {{100, 109, 112, 118}, {{3, 4}}};
  const auto samples = make_engine(options())->run(some).selection;
  ASSERT_EQ(samples.size(), 16U);
  for (const SelectionSample& sample : samples) {
    EXPECT_EQ(sample.blocks_read, sample.blocks_visible);
    EXPECT_NEAR(sample.mass_recall, 1, 1e-12);
    EXPECT_EQ(sample.needle_hit, 1.0);
    EXPECT_LT(sample.out_rel_l2, 1e-5);
  }
}

TEST_F(EngineSelection, the_last_token_of_an_answer_is_never_a_query) {
  Request some = request(120);
  some.selection.positions = {128, 129};
  for (const SelectionSample& sample : make_engine(options())->run(some).selection) {
    EXPECT_EQ(sample.position, 128);
  }
}

TEST_F(EngineSelection, models_without_sparse_layers_give_no_samples) {
  Request some = request(200);
  some.selection.positions = {150, 205};
  EngineOptions dense = options();
  dense.attention = "dense";
  EXPECT_TRUE(make_engine(dense)->run(some).selection.empty());
  TinyOptions qwen3;
  qwen3.family = "qwen3";
  const TempFolder full;
  write_tiny_model(full.path(), qwen3);
  EngineOptions other = options();
  other.model = full.path();
  EXPECT_TRUE(make_engine(other)->run(some).selection.empty());
}

TEST_F(EngineSelection, requests_are_checked) {
  const auto engine = make_engine(options());
  const auto expect_refused = [&](SelectionRequest selection,
                                  std::initializer_list<std::string> parts) {
    Request some = request(100);
    some.selection = std::move(selection);
    expect_error([&] { engine->run(some); }, parts);
  };
  expect_refused({{-1}, {}}, {"selection.positions", "-1", "110"});
  expect_refused({{110}, {}}, {"selection.positions", "110"});
  expect_refused({{5, 5}, {}}, {"selection.positions", "ascending", "5"});
  expect_refused({{9, 7}, {}}, {"selection.positions", "ascending", "7"});
  expect_refused({{7}, {{90, 101}}}, {"selection.needles", "[90, 101)", "100"});
  expect_refused({{7}, {{-1, 5}}}, {"selection.needles", "[-1, 5)"});
  expect_refused({{7}, {{5, 5}}}, {"selection.needles", "[5, 5)"});
}

}  // namespace
}  // namespace sala::testing
