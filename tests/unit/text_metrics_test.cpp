// Overlap metrics: values worked out by hand, and laws that any text obeys.
// SPDX-License-Identifier: Apache-2.0
#include "harness/scorers/text_metrics.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

namespace sala {
namespace {

using Words = std::vector<std::string>;

TEST(TextMetrics, normalising_drops_case_punctuation_and_articles) {
  EXPECT_EQ(normalised_words("The cat, an owl & A dog."), (Words{"cat", "owl", "dog"}));
  EXPECT_EQ(normalised_words("state-of-the-art"), (Words{"stateoftheart"}));
  EXPECT_EQ(normalised_words("\u201Ca\u201D"), (Words{"\u201C", "\u201D"}));  // quotes end a word
  EXPECT_EQ(normalised_words("na\u00EFve"), (Words{"na\u00EFve"}));
}

TEST(TextMetrics, f1_counts_each_word_as_often_as_it_occurs) {
  EXPECT_DOUBLE_EQ(bag_f1({"x", "x", "y"}, {"x", "y", "y"}), 2.0 / 3);
  EXPECT_EQ(bag_f1({"x"}, {"y"}), 0);
  EXPECT_EQ(bag_f1({}, {}), 0);
}

TEST(TextMetrics, rouge_lsum_takes_the_union_over_lines_and_clips_counts) {
  // The example of the ROUGE paper: union of w1 w2 and w1 w3 w5 against w1 w2 w3 w4 w5.
  const double r = 4.0 / 5;
  const double p = 4.0 / 10;
  EXPECT_DOUBLE_EQ(rouge_lsum_google("w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", "w1 w2 w3 w4 w5"),
                   2 * p * r / (p + r));
  EXPECT_DOUBLE_EQ(rouge_lsum_google("a", "a\na"), 2 * 1.0 * 0.5 / 1.5);  // one a serves one a
  EXPECT_EQ(rouge_lsum_google("", "a"), 0);
  EXPECT_EQ(rouge_lsum_google("!?", "a"), 0);
}

TEST(TextMetrics, equal_texts_get_full_marks_and_disjoint_ones_none) {
  std::mt19937 random(5);
  for (int round = 0; round < 50; ++round) {
    std::string text;
    std::string other;
    for (int i = 0; i < 40; ++i) {
      const auto draw = static_cast<int>(random() % 12);
      text += draw == 0 ? ". " : draw == 1 ? "\n" : fmt::format("w{} ", draw);
      other += draw == 0 ? ". " : draw == 1 ? "\n" : fmt::format("v{} ", draw);
    }
    EXPECT_DOUBLE_EQ(rouge_lsum_google(text, text), 1);
    EXPECT_NEAR(rouge_l_pltrdy(text, text), 1, 1e-6);
    EXPECT_EQ(rouge_lsum_google(text, other), 0);
    EXPECT_EQ(bag_f1(normalised_words(text), normalised_words(other)), 0);
  }
}

}  // namespace
}  // namespace sala
