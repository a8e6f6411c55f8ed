// The needle family: what stands where, and that samples are pure.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <regex>
#include <set>

#include "engine/base/sha256.h"
#include "harness/task.h"
#include "tasks/haystack.h"

namespace sala {
namespace {

const std::vector<std::string> kFamily{"needle_grid",     "niah_multikey_1", "niah_multikey_2",
                                       "niah_multikey_3", "niah_multiquery", "niah_multivalue",
                                       "niah_single_1",   "niah_single_2",   "niah_single_3"};

const Tokenizer& tiny() {
  static const auto tokenizer = load_tokenizer(std::filesystem::path(SALA_TEST_SOURCE_DIR) /
                                               "tests/golden/data/tiny_tokenizer");
  return *tokenizer;
}

const Tokenizer& words() {
  static const auto tokenizer = make_whitespace_tokenizer();
  return *tokenizer;
}

TaskOptions options(std::int64_t length, std::uint64_t seed = 42) {
  return {length, seed, {}};
}

/// Properties hold for every seed: samples take one after the other.
std::uint64_t seed_of(std::int64_t i) {
  constexpr std::uint64_t kSeeds[] = {42, 0, 7919, 1ULL << 40};
  return kSeeds[i % std::ssize(kSeeds)];
}

/// Everything that the text says: each "One of the special magic ..." sentence.
std::vector<std::pair<std::string, std::string>> needles_in(const std::string& text) {
  static const std::regex kNeedle(
      R"(One of the special magic (?:numbers|uuids) for (\S+) is: (\S+)\.)");
  std::vector<std::pair<std::string, std::string>> found;
  for (std::sregex_iterator at(text.begin(), text.end(), kNeedle), end; at != end; ++at) {
    found.emplace_back((*at)[1], (*at)[2]);
  }
  return found;
}

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + 1)) {
    ++n;
  }
  return n;
}

TEST(Needle, the_asked_values_stand_in_the_recorded_token_spans) {
  for (const auto& name : kFamily) {
    const auto task = make_task(name);
    for (std::int64_t i = 0; i < 20; ++i) {
      const Sample sample = task->make(options(1500, seed_of(i)), i, tiny());
      ASSERT_EQ(sample.needles.size(), sample.references.size()) << name;
      for (std::size_t n = 0; n < sample.needles.size(); ++n) {
        const auto [begin, end] = sample.needles[n];
        ASSERT_LT(0, begin);
        ASSERT_LT(begin, end);
        ASSERT_LE(end, static_cast<std::int64_t>(sample.prompt_ids.size()));
        const std::string text = tiny().decode(
            std::span(sample.prompt_ids)
                .subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
        const auto inside = needles_in(text);
        ASSERT_EQ(inside.size(), 1U) << name << ": " << text;
        EXPECT_EQ(inside[0].second, sample.references[n]) << name;
        EXPECT_LT(text.size(), inside[0].first.size() + inside[0].second.size() + 45) << text;
      }
      EXPECT_DOUBLE_EQ(*sample.depth_pct, 100.0 * static_cast<double>(sample.needles[0].begin) /
                                              static_cast<double>(sample.prompt_ids.size()));
    }
  }
}

TEST(Needle, keys_are_distinct_and_the_asked_ones_have_exactly_their_values) {
  for (const auto& name : kFamily) {
    const auto task = make_task(name);
    for (std::int64_t i = 0; i < 20; ++i) {
      const Sample sample = task->make(options(3000, seed_of(i)), i, tiny());
      const auto needles = needles_in(sample.prompt);
      std::set<std::string> keys;
      std::set<std::string> values;
      for (const auto& [key, value] : needles) {
        keys.insert(key);
        values.insert(value);
      }
      EXPECT_EQ(values.size(), needles.size()) << name;
      EXPECT_EQ(keys.size(), name == "niah_multivalue" ? 1U : needles.size()) << name;
      const std::size_t n_needles = name.starts_with("niah_multi") ? 4U : 1U;
      if (name == "niah_multikey_2" || name == "niah_multikey_3") {
        EXPECT_GT(needles.size(), 10U) << name;
      } else {
        EXPECT_EQ(needles.size(), n_needles) << name;
      }
      for (const std::string& reference : sample.references) {
        EXPECT_EQ(count_of(sample.prompt, reference), 1U) << name;
      }
    }
  }
}

TEST(Needle, the_filler_never_holds_the_key) {
  for (const auto& name : {"niah_single_1", "niah_single_2", "needle_grid"}) {
    const auto task = make_task(name);
    for (std::int64_t i = 0; i < 20; ++i) {
      const Sample sample = task->make(options(2000, seed_of(i)), i, tiny());
      // Needle, question, answer prefix.
      EXPECT_EQ(count_of(sample.prompt, needles_in(sample.prompt)[0].first), 3U) << name;
    }
  }
}

TEST(Needle, one_needle_is_asked_for_in_the_singular_byte_for_byte) {
  const Sample sample = make_task("niah_single_1")->make(options(400), 0, tiny());
  const auto needle = needles_in(sample.prompt).at(0);
  const std::string& key = needle.first;
  EXPECT_TRUE(sample.prompt.starts_with(
      "A special magic number is hidden within the following text. Make sure to memorize it. I "
      "will quiz you about the number afterwards.\n"));
  EXPECT_TRUE(sample.prompt.ends_with("\nWhat is the special magic number for " + key +
                                      " mentioned in the provided text? The special magic number "
                                      "for " +
                                      key + " mentioned in the provided text is"));
  EXPECT_EQ(sample.answer_prefix,
            " The special magic number for " + key + " mentioned in the provided text is");
  EXPECT_EQ(sample.max_new_tokens, 128);
  EXPECT_EQ(sample.prompt_ids[0], *tiny().bos());
  EXPECT_EQ(sample.references, std::vector<std::string>{needle.second});
}

TEST(Needle, four_are_asked_for_in_the_plural_with_a_comma_before_and) {
  const Sample sample = make_task("niah_multiquery")->make(options(1200), 0, tiny());
  std::smatch found;
  const std::regex tail(
      R"(\nWhat are all the special magic numbers for (\S+), (\S+), (\S+), and (\S+) mentioned in )"
      R"(the provided text\? The special magic numbers for \1, \2, \3, and \4 mentioned in the )"
      R"(provided text are$)");
  ASSERT_TRUE(std::regex_search(sample.prompt, found, tail)) << sample.prompt;
  EXPECT_TRUE(sample.prompt.starts_with("Some special magic numbers are hidden within"));
  const auto needles = needles_in(sample.prompt);
  for (std::size_t i = 0; i < 4; ++i) {
    const auto asked = std::find_if(needles.begin(), needles.end(), [&](const auto& needle) {
      return needle.first == found[i + 1].str();
    });
    ASSERT_NE(asked, needles.end());
    EXPECT_EQ(asked->second, sample.references[i]) << "references follow the question";
  }
  const Sample uuid = make_task("niah_multikey_3")->make(options(1200), 0, tiny());
  EXPECT_TRUE(uuid.prompt.starts_with("A special magic uuid is hidden"));
}

TEST(Needle, noise_lines_are_whole_and_a_needle_is_never_the_last_line) {
  const auto task = make_task("niah_single_1");
  for (std::int64_t i = 0; i < 50; ++i) {
    const Sample sample = task->make(options(900), i, tiny());
    std::vector<std::string> lines;
    std::size_t at = 0;
    for (std::size_t end = 0; end != std::string::npos; at = end + 1) {
      end = sample.prompt.find('\n', at);
      lines.push_back(sample.prompt.substr(at, end - at));
    }
    int n_needles = 0;
    for (std::size_t line = 1; line + 1 < lines.size(); ++line) {
      if (lines[line] != kNoiseLine) {
        ++n_needles;
        EXPECT_TRUE(lines[line].starts_with("One of the special")) << lines[line];
        EXPECT_LT(line + 2, lines.size());
      }
    }
    EXPECT_EQ(n_needles, 1);
  }
}

TEST(Needle, depths_spread_over_the_whole_prompt) {
  for (const auto& name : kFamily) {
    const auto task = make_task(name);
    std::vector<int> deciles(10, 0);
    constexpr int kSamples = 220;
    for (std::int64_t i = 0; i < kSamples; ++i) {
      const Sample sample = task->make(options(1600, seed_of(i)), i, words());
      ++deciles[static_cast<std::size_t>(*sample.depth_pct / 10)];
    }
    for (const int n : deciles) {
      EXPECT_GT(n, kSamples / 40) << name;
      EXPECT_LT(n, kSamples / 5) << name;
    }
  }
}

TEST(Needle, the_grid_puts_sample_i_at_depth_i_mod_11_tenths) {
  const auto task = make_task("needle_grid");
  for (std::int64_t i = 0; i < 22; ++i) {
    const Sample sample = task->make(options(4096), i, words());
    const double wanted = 10.0 * static_cast<double>(i % 11);
    EXPECT_NEAR(*sample.depth_pct, wanted, 1.2) << "sample " << i;
  }
  // The ends are the first and the last place that the filler has.
  const Sample first = task->make(options(1000), 0, words());
  EXPECT_NE(first.prompt.find("afterwards.\nOne of the special"), std::string::npos);
  const Sample last = task->make(options(1000), 10, words());
  EXPECT_NE(last.prompt.find(last.references[0] + ".\nWhat is the"), std::string::npos);
}

TEST(Needle, other_seeds_lengths_and_samples_give_other_needles) {
  const auto task = make_task("niah_single_2");
  std::set<std::string> values;
  std::set<std::string> clusters;
  for (const std::uint64_t seed : {1U, 2U}) {
    for (const std::int64_t length : {600, 601}) {
      for (std::int64_t i = 0; i < 5; ++i) {
        const Sample sample = task->make(options(length, seed), i, tiny());
        values.insert(sample.references[0]);
        clusters.insert(sample.cluster);
      }
    }
  }
  EXPECT_EQ(values.size(), 20U);
  EXPECT_EQ(clusters.size(), 20U);
}

// Computed apart, by a Python script on CPython's random and the rules of strict mode.
TEST(Needle, a_strict_sample_is_what_python_makes_of_the_rules) {
  const Sample sample = make_task("niah_multikey_3")->make(options(600), 3, words());
  EXPECT_EQ(sample.references, std::vector<std::string>{"c5e804e6-d0a3-46d7-8d8d-d5204bc0a760"});
  EXPECT_EQ(sample.cluster, "3666174906f1196f");
  EXPECT_EQ(sha256_hex(sample.prompt),
            "0a2da27b016c5e22d3481fdb66c9eff6639cfd16755ae53ffe9c216b97e5a0c4");
}

}  // namespace
}  // namespace sala
