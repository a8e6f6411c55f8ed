// Strict variable tracking, common and frequent words, and questions: what is promised of them.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <regex>
#include <set>

#include "engine/base/lower.h"
#include "engine/base/utf8.h"
#include "harness/task.h"

namespace sala {
namespace {

const Tokenizer& words() {
  static const auto tokenizer = make_whitespace_tokenizer();
  return *tokenizer;
}

/// n samples, of one seed after the other.
std::vector<Sample> samples_of(const char* name, std::int64_t length, std::int64_t n) {
  constexpr std::uint64_t kSeeds[] = {42, 0, 7919, 1ULL << 40};
  const auto task = make_task(name);
  std::vector<Sample> samples;
  samples.reserve(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    samples.push_back(task->make({length, kSeeds[i % std::ssize(kSeeds)], {}}, i, words()));
  }
  return samples;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> found{""};
  for (const char c : text) {
    if (c == ' ' || c == '\n') {
      if (!found.back().empty()) found.emplace_back();
    } else {
      found.back() += c;
    }
  }
  if (found.back().empty()) found.pop_back();
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

/// The prompt behind its worked example.
std::string_view after_example(const Sample& sample, std::string_view first_words) {
  return std::string_view(sample.prompt).substr(sample.prompt.rfind(first_words));
}

TEST(RulerStrict, a_chain_passes_the_asked_value_on_to_every_answer) {
  for (const Sample& sample : samples_of("vt", 2600, 30)) {
    const std::string_view task = after_example(sample, "Memorize and track");
    ASSERT_EQ(sample.references.size(), 5U);
    EXPECT_EQ(std::set(sample.references.begin(), sample.references.end()).size(), 5U);
    std::string previous;
    std::size_t at = 0;
    for (const std::string& name : sample.references) {
      const std::string statement = previous.empty()
                                        ? fmt::format("VAR {} = ", name)
                                        : fmt::format("VAR {} = VAR {} \n", name, previous);
      EXPECT_EQ(count_of(task, statement), 1U) << statement;
      EXPECT_LT(at, task.find(statement)) << "a name is assigned before it is used";
      at = task.find(statement);
      previous = name;
      // The example names others.
      EXPECT_EQ(sample.prompt.find(name),
                sample.prompt.find(name, sample.prompt.size() - task.size()));
    }
    const std::string value(task.substr(task.find("= ") + 2, 5));
    EXPECT_NE(task.find("assigned the value " + value + " in the text"), std::string_view::npos);
    EXPECT_EQ(count_of(sample.prompt, "they are: "), 2U);
    EXPECT_TRUE(sample.prompt.ends_with("they are: "));
  }
}

TEST(RulerStrict, the_ten_common_words_come_most_often_and_in_no_other_word) {
  for (const std::int64_t length : {1500, 4400, 9000}) {
    const std::size_t repeats = length < 4096 ? 6 : 30;
    for (const Sample& sample : samples_of("cwe", length, 5)) {
      const std::string_view list = after_example(sample, "Below is a numbered list");
      std::map<std::string, std::size_t> counts;
      const auto listed = words_of(list.substr(list.find("\n1. ")));
      for (std::size_t i = 0; i < listed.size() && listed[i] != "Question:"; i += 2) {
        EXPECT_EQ(listed[i], std::to_string(i / 2 + 1) + ".");
        ++counts[listed[i + 1]];
      }
      ASSERT_EQ(sample.references.size(), 10U);
      for (const std::string& answer : sample.references) {
        EXPECT_EQ(counts.at(answer), repeats) << answer;
        for (const std::string& word :
             words_of(sample.prompt.substr(0, sample.prompt.rfind("Question:")))) {
          if (word != answer && word.find('.') == std::string::npos && counts.contains(word)) {
            EXPECT_EQ(lower(word).find(lower(answer)), std::string::npos)
                << answer << " in " << word;
          }
        }
        counts.erase(answer);
      }
      const std::size_t others = length < 4096 ? 1 : 3;
      for (const auto& [word, n] : counts) EXPECT_EQ(n, others) << word;
    }
  }
}

TEST(RulerStrict, the_three_answers_are_the_most_frequent_coded_words_without_ties) {
  for (const std::int64_t length : {200, 333, 1000, 5000}) {
    for (const Sample& sample : samples_of("fwe", length, 20)) {
      std::map<std::string, std::size_t> counts;
      const std::size_t begin = sample.prompt.find("coded words. ") + 13;
      const std::size_t end = sample.prompt.find("\nQuestion");
      for (const auto& word : words_of(sample.prompt.substr(begin, end - begin))) ++counts[word];
      counts.erase("...");
      std::vector<std::pair<std::size_t, std::string>> ranks;
      ranks.reserve(counts.size());
      for (const auto& [word, n] : counts) ranks.emplace_back(n, word);
      std::sort(ranks.rbegin(), ranks.rend());
      ASSERT_GE(ranks.size(), 3U);
      std::set<std::string> top;
      for (std::size_t r = 0; r < 3; ++r) top.insert(ranks[r].second);
      EXPECT_EQ(top, std::set(sample.references.begin(), sample.references.end()));
      EXPECT_TRUE(ranks.size() == 3 || ranks[2].first > ranks[3].first) << length;
    }
  }
}

TEST(RulerStrict, the_documents_that_answer_are_there_once_under_one_number) {
  for (const char* name : {"qa_1", "qa_2"}) {
    for (const Sample& sample : samples_of(name, 2000, 20)) {
      ASSERT_EQ(sample.needles.size(), std::string_view(name) == "qa_1" ? 1U : 2U);
      const std::size_t question = sample.prompt.rfind("Question:");
      std::size_t n = 0;
      while (sample.prompt.find("Document " + std::to_string(n + 1) + ":\n") < question) ++n;
      EXPECT_GT(n, 10U);
      EXPECT_EQ(count_of(sample.prompt, "\nDocument "), n);
      EXPECT_EQ(sample.references.size(), 1U);
    }
  }
}

TEST(RulerStrict, answers_are_spread_over_the_whole_prompt) {
  constexpr std::int64_t kSamples = 200;
  for (const char* name : {"qa_1", "vt"}) {
    std::vector<int> deciles(10);
    for (const Sample& sample : samples_of(name, 6000, kSamples)) {
      for (const TokenSpan& needle : sample.needles) {
        ++deciles[static_cast<std::size_t>(10 * needle.begin /
                                           static_cast<std::int64_t>(sample.prompt_ids.size()))];
      }
    }
    int n = 0;
    for (const int count : deciles) n += count;
    // A worked example takes the first tenth of vt.
    for (std::size_t d = std::string_view(name) == "vt" ? 1 : 0; d < 10; ++d) {
      EXPECT_GT(deciles[d], n / 25) << name << " " << d;
      EXPECT_LT(deciles[d], n / 5) << name << " " << d;
    }
  }
}

TEST(RulerStrict, no_two_samples_share_their_pattern_of_positions) {
  std::set<std::vector<bool>> patterns;
  for (const Sample& sample : samples_of("fwe", 1000, 20)) {
    std::vector<bool> pattern;
    for (const auto& word : words_of(sample.prompt)) pattern.push_back(word == "...");
    patterns.insert(pattern);
  }
  EXPECT_EQ(patterns.size(), 20U);
}

TEST(RulerStrict, without_data_the_sources_are_stand_ins_and_uuids_need_none) {
  for (const char* name : {"cwe", "niah_single_1", "niah_single_2", "qa_1", "qa_2"}) {
    const auto sources = make_task(name)->sources({4096, 42, {}});
    EXPECT_TRUE(std::any_of(sources.begin(), sources.end(), [](const TaskSource& source) {
      return source.standin;
    })) << name;
  }
  for (const char* name : {"fwe", "niah_multikey_3", "vt"}) {
    EXPECT_TRUE(make_task(name)->sources({4096, 42, {}}).empty()) << name;
  }
}

TEST(RulerStrict, a_question_beyond_the_last_one_is_an_error) {
  const auto task = make_task("qa_1");
  EXPECT_EQ(task->count({2000, 42, {}}, words()), 500);
  EXPECT_ANY_THROW(task->make({2000, 42, {}}, 500, words()));
}

}  // namespace
}  // namespace sala
