// The passkey prompt: its lines, its place, its size.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>
#include <regex>

#include "harness/task.h"

namespace sala {
namespace {

const Tokenizer& tiny() {
  static const auto tokenizer = load_tokenizer(std::filesystem::path(SALA_TEST_SOURCE_DIR) /
                                               "tests/golden/data/tiny_tokenizer");
  return *tokenizer;
}

TEST(Passkey, is_task_noise_key_noise_question) {
  const auto task = make_task("passkey");
  const std::regex whole(
      "There is an important info hidden inside a lot of irrelevant text\\. Find it and memorize "
      "them\\. I will quiz you about the important information there\\.\n"
      "([^\n]*)\nThe pass key is (\\d+)\\. Remember it\\. \\2 is the pass key\\.\n([^\n]*)\n"
      "What is the pass key\\? The pass key is");
  const std::string noise =
      "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. ";
  for (std::int64_t i = 0; i < 20; ++i) {
    const Sample sample = task->make({700, 1, {}}, i, tiny());
    std::smatch found;
    ASSERT_TRUE(std::regex_match(sample.prompt, found, whole)) << sample.prompt;
    EXPECT_EQ(found[2].str(), sample.references.at(0));
    EXPECT_LE(std::stoi(found[2]), 50000);
    for (const std::string& part : {found[1].str(), found[3].str()}) {
      std::string repeated;
      while (repeated.size() < part.size()) repeated += noise;
      EXPECT_TRUE(repeated.starts_with(part)) << part;
    }
    EXPECT_EQ(sample.answer_prefix, " The pass key is");
    EXPECT_EQ(sample.max_new_tokens, 10);
    const auto [begin, end] = sample.needles.at(0);
    EXPECT_NE(tiny()
                  .decode(std::span(sample.prompt_ids)
                              .subspan(static_cast<std::size_t>(begin),
                                       static_cast<std::size_t>(end - begin)))
                  .find("Remember it. " + sample.references[0] + " is"),
              std::string::npos);
  }
}

TEST(Passkey, fills_the_limit_to_a_few_tokens) {
  const auto task = make_task("passkey");
  for (std::int64_t length = 160; length < 1200; length += 37) {
    const Sample sample = task->make({length, 1, {}}, length, tiny());
    const auto used = static_cast<std::int64_t>(sample.prompt_ids.size()) + 10;
    EXPECT_LE(used, length);
    EXPECT_GE(used, length - 2);
  }
}

TEST(Passkey, stands_at_any_depth) {
  const auto task = make_task("passkey");
  std::vector<int> fifths(5, 0);
  for (std::int64_t i = 0; i < 200; ++i) {
    ++fifths[static_cast<std::size_t>(*task->make({3000, 1, {}}, i, tiny()).depth_pct / 20)];
  }
  for (const int n : fifths) EXPECT_GT(n, 20);
}

}  // namespace
}  // namespace sala
