// The perplexity task and its scorer.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "harness/scorer.h"
#include "harness/task.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

TEST(Perplexity, prompts_are_whole_sentences_with_nothing_to_generate) {
  const auto tokenizer = make_whitespace_tokenizer();
  const Sample sample = make_task("perplexity")->make({300, 1, {}}, 0, *tokenizer);
  EXPECT_TRUE(sample.prompt_logprobs);
  EXPECT_EQ(sample.max_new_tokens, 0);
  EXPECT_TRUE(sample.references.empty());
  EXPECT_TRUE(sample.needles.empty());
  EXPECT_FALSE(sample.depth_pct.has_value());
  EXPECT_NE(std::string(".?!\"").find(sample.prompt.back()), std::string::npos);
  EXPECT_GT(sample.prompt_ids.size(), 270U);
}

TEST(Perplexity, reads_the_users_text) {
  const fs::path path = fs::path(testing::TempDir()) / "sala_perplexity.txt";
  std::ofstream(path) << "Alpha beta.\n\nGamma  delta epsilon! Zeta.";
  const auto tokenizer = make_whitespace_tokenizer();
  const Sample sample = make_task("perplexity")->make({12, 1, {path.string()}}, 0, *tokenizer);
  EXPECT_EQ(sample.prompt_ids.size(), 12U);
  const std::string twice =
      "Alpha beta. Gamma delta epsilon! Zeta. Alpha beta. Gamma delta epsilon! Zeta. Alpha beta. "
      "Gamma delta epsilon!";
  EXPECT_NE(twice.find(sample.prompt), std::string::npos) << sample.prompt;
  fs::remove(path);
}

TEST(PerplexityScorer, is_the_geometric_mean_with_buckets_that_double) {
  Answer answer;
  for (int i = 1; i <= 5; ++i) answer.prompt_logprobs.push_back(-static_cast<float>(i));
  const Score score = find_scorer("perplexity").score({}, answer);
  EXPECT_DOUBLE_EQ(score.value, std::exp(-3.0));
  EXPECT_EQ(score.error_class, "");
  const auto detail = nlohmann::json::parse(score.detail);
  EXPECT_DOUBLE_EQ(detail["nll"], 3.0);
  const auto expected = nlohmann::json::parse(
      R"([{"from":1,"to":2,"n":1,"nll":1.0},{"from":2,"to":4,"n":2,"nll":2.5},
          {"from":4,"to":6,"n":2,"nll":4.5}])");
  EXPECT_EQ(detail["buckets"], expected);
}

TEST(PerplexityScorer, refuses_missing_and_non_finite_values) {
  Answer answer;
  EXPECT_THROW(find_scorer("perplexity").score({}, answer), Error);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    answer.prompt_logprobs = {-1, bad};
    try {
      find_scorer("perplexity").score({}, answer);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("position 2"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace sala
