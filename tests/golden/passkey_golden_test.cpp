// Passkey prompts and depth grids of the originals, byte for byte.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "engine/base/sha256.h"
#include "harness/task.h"
#include "tasks/suites/depths.h"
#include "tasks/suites/passkey_original.h"

namespace sala {
namespace {

using nlohmann::json;

const json& golden() {
  static const json prompts = json::parse(
      read_text_file(std::string(SALA_TEST_SOURCE_DIR) + "/tests/golden/data/prompts.json"));
  return prompts;
}

TEST(golden_passkey, prompts_equal_the_originals) {
  std::map<std::uint64_t, PythonRandom> landmark;  // by seed: prompts are drawn one after the other
  int n = 0;
  for (const json& row : golden()["passkey"]) {
    const std::uint64_t seed = row["seed"];
    const std::int64_t length = row["n_garbage"];
    PythonRandom& random = landmark.try_emplace(seed, seed).first->second;
    const PasskeyPrompt prompt = row["variant"] == "landmark"
                                     ? landmark_passkey(random, length)
                                     : longlora_passkey(static_cast<std::uint32_t>(seed), length);
    EXPECT_EQ(prompt.key, row["key"].get<std::string>()) << row;
    EXPECT_EQ(prompt.n_before, row["prefix_chars"]) << row;
    EXPECT_EQ(prompt.draft.text.size(), row["chars"]) << row;
    EXPECT_EQ(sha256_hex(prompt.draft.text), row["sha256"].get<std::string>()) << row;
    ++n;
  }
  fmt::print("{} of {} passkey prompts byte-identical\n", n, golden()["passkey"].size());
}

TEST(golden_passkey, tasks_send_these_prompts) {
  const auto tokenizer = make_whitespace_tokenizer();
  for (const json& row : golden()["passkey"]) {
    const bool is_longlora = row["variant"] == "longlora";
    const auto task = make_task(is_longlora ? "passkey_longlora" : "passkey_landmark");
    const std::int64_t n = row["n_garbage"];
    // LongLoRA's noise is a number of tokens times 3.75, rounded down to 1024 characters.
    const std::int64_t length = is_longlora ? (n * 4 + 14) / 15 : n;
    const std::int64_t i = is_longlora ? row["seed"].get<std::int64_t>() : 0;
    TaskOptions options;
    options.length = length;
    options.seed = row["seed"];
    const Sample sample = task->make(options, i, *tokenizer);
    if (is_longlora) {
      EXPECT_EQ(sha256_hex(sample.prompt), row["sha256"].get<std::string>()) << row;
    } else {
      EXPECT_EQ(sample.prompt.size() - 2 * sample.references[0].size(),
                row["chars"].get<std::size_t>() - 2 * row["key"].get<std::string>().size());
    }
  }
}

TEST(golden_passkey, noise_longer_than_published_is_an_error) {
  PythonRandom random(1);
  EXPECT_THROW(landmark_passkey(random, 1 << 20), Error);
}

TEST(golden_passkey, yarn_prompts_end_just_below_the_length) {
  const auto tokenizer = make_whitespace_tokenizer();
  const auto task = make_task("passkey_yarn");
  for (const std::int64_t length : {100, 1000, 4096}) {
    const Sample sample = task->make({length, 42, {}}, 3, *tokenizer);
    const auto n = static_cast<std::int64_t>(sample.prompt_ids.size());
    EXPECT_LT(n, length);
    EXPECT_GT(n, length - 40);  // 128 characters are 25 words
  }
}

TEST(golden_grids, depths_and_lengths_equal_numpys) {
  EXPECT_EQ(linear_steps(1000, 16000, 35),
            golden()["niah_linear_lengths"].get<std::vector<double>>());
  EXPECT_EQ(linear_steps(0, 100, 35), golden()["niah_linear_depths"].get<std::vector<double>>());
  EXPECT_EQ(sigmoid_depths(35), golden()["niah_sigmoid_depths"].get<std::vector<double>>());
  std::vector<double> nolima;
  nolima.reserve(26);
  for (int d = 0; d < 26; ++d) nolima.push_back(static_cast<double>(d) / 25);
  EXPECT_EQ(nolima, golden()["nolima_depths"].get<std::vector<double>>());
}

}  // namespace
}  // namespace sala
