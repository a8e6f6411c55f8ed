// MiniCPM-SALA with its published sparse sizes against plain double precision, where its rules
// change: the window, the last block that is always seen (6144 tokens) and dense_len (8192).
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>

#include "engine/engine.h"
#include "tests/piecewise_model.h"
#include "tests/reference_model.h"
#include "tests/tiny_model.h"
#include "tests/tolerance.h"

namespace sala::testing {
namespace {

constexpr std::size_t kVocab = 258;  // as many as the tokenizer has

/// Small in everything but the sparse sizes.
TinyOptions published_sparse_sizes() {
  TinyOptions options;
  options.mixers = {"minicpm4", "lightning-attn", "minicpm4"};
  options.n_heads = 2;
  options.n_kv_heads = 1;
  options.lightning_nkv = 2;
  options.head_dim = 8;
  options.hidden = 16;
  options.intermediate = 24;
  options.vocab = kVocab;
  options.changes["sparse_config"] = {
      {"kernel_size", 32},   {"kernel_stride", 16}, {"init_blocks", 1},  {"block_size", 64},
      {"window_size", 2048}, {"topk", 64},          {"use_nope", false}, {"dense_len", 8192}};
  return options;
}

// Blocks whose scores round alike in fp32 and apart in fp64 would show as much more than the
// tolerance: the seeds have none.

class SalaBoundaries : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef SALA_SANITIZED
    GTEST_SKIP() << "takes minutes when instrumented";
#endif
    model_ = write_tiny_model(folder_.path(), published_sparse_sizes());
  }
  EngineOptions options(const std::map<std::string, std::string>& settings = {}) const {
    EngineOptions options;
    options.model = folder_.path();
    options.device = "cpu";
    options.threads = 1;
    options.settings = settings;
    return options;
  }
  ReferenceModel reference(std::int64_t dense_len = 8192) {
    model_.config["sparse_config"]["dense_len"] = dense_len;
    return ReferenceModel(model_);
  }
  static std::vector<TokenId> ids(std::int64_t n) {
    return random_ids(n, static_cast<std::int64_t>(kVocab), 11);
  }

  TempFolder folder_;
  TinyModel model_;
};

/// Largest difference at the positions over the largest logit there.
double error(const std::vector<float>& actual, const Rows& expected,
             const std::vector<std::size_t>& positions) {
  double worst = 0;
  double largest = 0;
  for (const std::size_t t : positions) {
    for (std::size_t i = 0; i < kVocab; ++i) {
      const double e = expected.at(t)[i];
      worst = std::max(worst, std::abs(static_cast<double>(actual.at(t * kVocab + i)) - e));
      largest = std::max(largest, std::abs(e));
    }
  }
  return worst / largest;
}

TEST_F(SalaBoundaries, rows_of_an_always_sparse_prompt_equal_the_reference) {
  // From 6144 on a row sees 96 of its blocks.
  const auto actual = make_engine(options({{"dense_len", "0"}}))->logits(ids(6273), 0);
  EXPECT_LT(error(actual, reference(0).logits(ids(6273)),
                  {0, 31, 63, 64, 127, 128, 2047, 2048, 2111, 2112, 6142, 6143, 6144, 6145, 6207,
                   6208, 6271, 6272}),
            tolerance::kModel);
}

TEST_F(SalaBoundaries, prompts_are_sparse_from_dense_len_on) {
  const auto tokens = ids(8193);
  const Rows dense = reference(9000).logits(tokens);
  const Rows sparse = reference(0).logits(tokens);
  for (const std::size_t n : {8191U, 8192U, 8193U}) {
    SCOPED_TRACE(fmt::format("{} tokens", n));
    const auto actual = make_engine(options())->logits({tokens.data(), n}, 0);
    ASSERT_EQ(actual.size(), n * kVocab);
    const std::vector<std::size_t> positions{6143, 6144, 7000, 8127, 8128, n - 2, n - 1};
    EXPECT_LT(error(actual, n < 8192 ? dense : sparse, positions), tolerance::kModel);
    EXPECT_GT(error(actual, n < 8192 ? sparse : dense, positions), 100 * tolerance::kModel);
  }
}

TEST_F(SalaBoundaries, decoding_becomes_sparse_at_dense_len) {
  // The prompt's rows stay dense; the rows decoded at positions 8191 and 8192 choose blocks.
  constexpr std::int64_t kPrompt = 8190;
  const auto tokens = ids(8193);
  PiecewiseModel model(options(), 8193);
  ModelState state = model.new_state();
  auto actual = model.forward(std::span(tokens).first(kPrompt), state, kPrompt);
  for (std::size_t t = kPrompt; t < tokens.size(); ++t) {
    const auto row = model.step(tokens[t], state, kPrompt);
    actual.insert(actual.end(), row.begin(), row.end());
  }
  ReferenceModel decoded = reference();
  decoded.n_prompt = kPrompt;
  const Rows expected = decoded.logits(tokens);
  EXPECT_LT(error(actual, expected, {6143, 6144, 8189, 8190, 8191, 8192}), tolerance::kModel);
  // Had the last rows been dense, or the prompt's sparse, it would show.
  const Rows dense = reference(9000).logits(tokens);
  EXPECT_EQ(dense[8190], expected[8190]);
  EXPECT_GT(error(actual, dense, {8191, 8192}), 100 * tolerance::kModel);
}

}  // namespace
}  // namespace sala::testing
