// Laws of the engine and the model: results do not depend on how the work is cut.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "engine/engine.h"
#include "engine/memory_plan.h"
#include "tests/piecewise_model.h"
#include "tests/tiny_model.h"
#include "tests/tolerance.h"

namespace sala::testing {
namespace {

constexpr std::int64_t kVocab = 300;

class EngineLaws : public ::testing::Test {
 protected:
  EngineLaws() {
    write_tiny_model(hybrid_.path());
    TinyOptions full;
    full.family = "minicpm4";
    full.sparse = false;
    write_tiny_model(full_.path(), full);
  }
  EngineOptions options(std::map<std::string, std::string> settings = {}) const {
    EngineOptions options;
    options.model = hybrid_.path();
    options.chunk = 64;
    options.threads = 1;  // many small products: threads would only wait for each other
    options.settings = std::move(settings);
    return options;
  }
  TempFolder hybrid_;
  TempFolder full_;
};

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - b[i]);
    most = std::isfinite(difference) ? std::max(most, difference) : INFINITY;
  }
  return most;
}

std::vector<std::size_t> random_pieces(std::size_t total, std::mt19937_64& random) {
  std::vector<std::size_t> pieces;
  while (total > 0) {
    pieces.push_back(1 + random() % std::min<std::size_t>(total, 90));
    total -= pieces.back();
  }
  return pieces;
}

TEST_F(EngineLaws, chunked_prefill_equals_one_shot) {
  std::mt19937_64 random(11);
  PiecewiseModel model(options(), 256);
  for (const std::int64_t n : {63, 64, 65, 127, 129, 250}) {
    const auto ids = random_ids(n, kVocab, static_cast<std::uint64_t>(n));
    const auto one_shot = model.forward_in_pieces(ids, {ids.size()});
    for (int i = 0; i < 4; ++i) {
      const auto pieces = random_pieces(ids.size(), random);
      EXPECT_LT(largest_difference(model.forward_in_pieces(ids, pieces), one_shot),
                tolerance::kModelLaw)
          << n << " tokens in " << pieces.size() << " pieces";
    }
  }
}

TEST_F(EngineLaws, chunk_size_of_the_engine_does_not_matter) {
  const auto ids = random_ids(300, kVocab, 5);
  for (const TempFolder* folder : {&hybrid_, &full_}) {
    EngineOptions some = options();
    some.model = folder->path();
    const auto expected = make_engine(some)->logits(ids, 0);
    for (const std::int64_t chunk : {0, 128, 192, 512}) {
      some.chunk = chunk;
      EXPECT_LT(largest_difference(make_engine(some)->logits(ids, 0), expected),
                tolerance::kModelLaw)
          << "chunk " << chunk;
    }
  }
}

TEST_F(EngineLaws, number_of_threads_does_not_matter) {
  const auto ids = random_ids(200, kVocab, 3);
  EngineOptions some = options();
  const auto expected = make_engine(some)->logits(ids, 0);
  some.threads = 2;
  EXPECT_LT(largest_difference(make_engine(some)->logits(ids, 0), expected), tolerance::kModelLaw);
}

TEST_F(EngineLaws, decode_equals_prefill_when_the_rule_sees_only_the_row) {
  const auto ids = random_ids(200, kVocab, 6);
  for (const auto& settings : {std::map<std::string, std::string>{{"dense_rule", "row"}},
                               std::map<std::string, std::string>{{"dense_len", "0"}}}) {
    PiecewiseModel model(options(settings), 256);
    const auto prefill = model.forward_in_pieces(ids, {ids.size()});
    ModelState state = model.new_state();
    auto stepped = model.forward(std::span(ids).first(50), state, 50);
    for (std::size_t t = 50; t < ids.size(); ++t) {
      const auto row = model.forward({&ids[t], 1}, state, 50);
      stepped.insert(stepped.end(), row.begin(), row.end());
    }
    EXPECT_LT(largest_difference(stepped, prefill), tolerance::kModelLaw)
        << settings.begin()->first;
  }
}

TEST_F(EngineLaws, a_step_gives_the_bits_of_a_call_with_its_token) {
  PiecewiseModel model(options(), 256);
  const auto ids = random_ids(140, kVocab, 6);
  ModelState called = model.new_state();
  ModelState stepped = model.new_state();
  model.forward(std::span(ids).first(120), called, 120);
  model.forward(std::span(ids).first(120), stepped, 120);
  for (std::size_t t = 120; t < ids.size(); ++t) {
    const auto expected = model.forward({&ids[t], 1}, called, 120);
    EXPECT_EQ(model.step(ids[t], stepped, 120), expected) << t;
  }
  EXPECT_EQ(stepped.length(), 140);
}

TEST_F(EngineLaws, dense_rule_of_the_request_sees_the_prompt_length) {
  // Rows 96 to 126 are dense in a prompt of 127 tokens and sparse in one of 128.
  const auto ids = random_ids(128, kVocab, 9);
  const auto engine = make_engine(options());
  auto shorter = engine->logits(std::span(ids).first(127), 0);
  auto longer = engine->logits(ids, 0);
  const auto row = [&](const std::vector<float>& logits, std::size_t t) {
    return std::vector<float>(logits.begin() + static_cast<std::ptrdiff_t>(t * kVocab),
                              logits.begin() + static_cast<std::ptrdiff_t>((t + 1) * kVocab));
  };
  EXPECT_LT(largest_difference(row(shorter, 95), row(longer, 95)), tolerance::kModelLaw);
  EXPECT_GT(largest_difference(row(shorter, 126), row(longer, 126)), 100 * tolerance::kModelLaw);
}

TEST_F(EngineLaws, selecting_every_block_equals_dense) {
  TinyOptions wide;
  wide.changes["sparse_config"] = tiny_config({})["sparse_config"];
  wide.changes["sparse_config"]["topk"] = 1000;
  wide.changes["sparse_config"]["dense_len"] = 0;
  const TempFolder folder;
  write_tiny_model(folder.path(), wide);
  EngineOptions some = options();
  some.model = folder.path();
  const auto ids = random_ids(250, kVocab, 8);
  const auto sparse = make_engine(some)->logits(ids, 0);
  some.attention = "dense";
  EXPECT_LT(largest_difference(make_engine(some)->logits(ids, 0), sparse), tolerance::kModelLaw);
  EngineOptions off = options({{"sparse", "off"}});
  EXPECT_LT(largest_difference(make_engine(off)->logits(ids, 0), sparse), tolerance::kModelLaw);
}

TEST_F(EngineLaws, a_reused_state_gives_the_bits_of_a_fresh_one) {
  const auto reused = make_engine(options());
  const auto first = random_ids(230, kVocab, 1);
  const auto second = random_ids(240, kVocab, 2);
  reused->logits(first, 1);
  EXPECT_EQ(reused->logits(second, 0), make_engine(options())->logits(second, 0));
  EXPECT_EQ(reused->logits(second, 0), reused->logits(second, 0));
}

TEST_F(EngineLaws, a_cloned_state_has_the_same_future) {
  PiecewiseModel model(options(), 256);
  const auto ids = random_ids(180, kVocab, 4);
  ModelState state = model.new_state();
  model.forward(std::span(ids).first(140), state, 180);
  ModelState copy = state.clone();
  EXPECT_EQ(copy.length(), 140);
  const auto expected = model.forward(std::span(ids).subspan(140), state, 180);
  EXPECT_EQ(model.forward(std::span(ids).subspan(140), copy, 180), expected);
  copy.clear();
  EXPECT_EQ(copy.length(), 0);
  model.forward(std::span(ids).first(140), copy, 180);
  EXPECT_EQ(model.forward(std::span(ids).subspan(140), copy, 180), expected);
}

TEST_F(EngineLaws, generation_follows_the_largest_logit) {
  const auto engine = make_engine(options({{"dense_rule", "row"}}));
  Request request;
  request.prompt = random_ids(90, kVocab, 12);
  request.max_new_tokens = 20;
  const Output output = engine->run(request);
  ASSERT_FALSE(output.tokens.empty());
  std::vector<TokenId> ids = request.prompt;
  for (const TokenId token : output.tokens) {
    const auto logits = engine->logits(ids, 1);
    const auto top = std::max_element(logits.begin(), logits.end()) - logits.begin();
    EXPECT_EQ(token, top);
    ids.push_back(token);
  }
}

TEST_F(EngineLaws, prompt_logprobs_are_log_softmax_of_the_logits) {
  const auto engine = make_engine(options());
  Request request;
  request.prompt = random_ids(150, kVocab, 13);
  request.prompt_logprobs = true;
  const Output output = engine->run(request);
  ASSERT_EQ(output.prompt_logprobs.size(), 149U);
  const auto logits = engine->logits(request.prompt, 0);
  for (std::size_t t = 0; t + 1 < request.prompt.size(); ++t) {
    double sum = 0;
    for (std::size_t i = 0; i < kVocab; ++i) {
      sum += std::exp(static_cast<double>(logits[t * kVocab + i]));
    }
    const auto next = static_cast<std::size_t>(request.prompt[t + 1]);
    EXPECT_NEAR(output.prompt_logprobs[t], logits[t * kVocab + next] - std::log(sum), 1e-5);
  }
}

TEST_F(EngineLaws, weights_that_come_late_or_again_answer_alike) {
  const Request request{.prompt = random_ids(150, kVocab, 3), .max_new_tokens = 5, .forced = {}};
  EngineOptions late = options();
  const Output expected = make_engine(late)->run(request);
  late.load = false;
  const auto engine = make_engine(late);
  const std::int64_t planned = total_bytes(engine->plan_memory(155));
  EXPECT_EQ(engine->run(request).tokens, expected.tokens);
  engine->unload();
  EXPECT_EQ(total_bytes(engine->plan_memory(155)), planned);
  const Output again = engine->run(request);
  EXPECT_EQ(again.tokens, expected.tokens);
  EXPECT_EQ(again.peak_bytes, expected.peak_bytes);
}

TEST_F(EngineLaws, room_for_more_tokens_changes_memory_alone) {
  const auto engine = make_engine(options());
  Request request{.prompt = random_ids(150, kVocab, 3), .max_new_tokens = 5, .forced = {}};
  const Output tight = engine->run(request);
  request.room = 2000;
  const Output roomy = engine->run(request);
  EXPECT_EQ(roomy.tokens, tight.tokens);
  EXPECT_GT(roomy.peak_bytes, tight.peak_bytes);
  const auto kv = [](const Output& output) {
    std::int64_t bytes = 0;
    for (const MemoryUse& use : output.memory) {
      if (use.category == "kv_sparse") bytes += use.peak_bytes;
    }
    return bytes;
  };
  const Request longer{.prompt = random_ids(1990, kVocab, 4), .max_new_tokens = 5, .forced = {}};
  EXPECT_EQ(kv(roomy), kv(engine->run(longer)));
  request.room = 10;
  EXPECT_EQ(engine->run(request).peak_bytes, tight.peak_bytes) << "room is never too little";
}

}  // namespace
}  // namespace sala::testing
