// Chooses a list that is long enough and draws words that cannot be mistaken for answers.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/ruler/cwe_words.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/lower.h"
#include "tasks/data_files.h"
#include "tasks/ruler/cwe.h"
#include "tasks/ruler/words.h"

namespace sala {
namespace {

constexpr const char* kEnglishWords = "english_words.json";

/// Different words that a prompt of this many tokens may take: more than it will.
std::size_t words_needed(std::int64_t length, double tokens_per_item) {
  const CwePlan plan = cwe_plan(length);
  const double items = static_cast<double>(length) / tokens_per_item;
  return static_cast<std::size_t>(1.25 * items / static_cast<double>(plan.list.other)) +
         plan.example_words + 2 * kCommonWords;
}

/// Tokens of a word with its number.
double tokens_per_item(const std::vector<std::string>& words, const Tokenizer& tokenizer) {
  constexpr std::size_t kMeasured = 100;
  std::int64_t tokens = 0;
  for (std::size_t i = 0; i < kMeasured; ++i) {
    tokens += tokenizer.count(fmt::format(" {}. {}", i, words[i * words.size() / kMeasured]));
  }
  return static_cast<double>(tokens) / kMeasured;
}

CweWords draw_from(const std::vector<std::string>& supply, std::size_t n, std::size_t n_example,
                   PythonRandom& random) {
  CweWords words;
  std::vector<std::string> common;  // in lower case, as answers are compared
  for (const std::size_t drawn : random.sample(supply.size(), std::min(n, supply.size()))) {
    const std::string& word = supply[drawn];
    const std::string low = lower(word);
    const auto clashes = [&](const std::string& other) {
      const bool inside = low.find(other) != std::string::npos;
      return inside || (common.size() < kCommonWords && other.find(low) != std::string::npos);
    };
    if (std::any_of(common.begin(), common.end(), clashes)) continue;
    if (common.size() < kCommonWords) {
      common.push_back(low);
      words.list.push_back(word);
    } else if (words.example.size() < n_example) {
      words.example.push_back(word);
    } else {
      words.list.push_back(word);
    }
  }
  return words;
}

}  // namespace

const std::vector<std::string>& CweSupply::words(const std::vector<std::string>& data) const {
  return words_.get(data, [&] { return wonder_words(data); });
}

const std::vector<std::string>& CweSupply::more_words(const std::vector<std::string>& data) const {
  return more_words_.get(data, [&] { return english_words(data); });
}

const std::vector<std::string>& CweSupply::built_in(const Prose& prose) const {
  return built_in_.get({}, [&] {
    std::vector<std::string> all;
    for (const char* list : {"adjective", "noun", "verb"}) {
      all.insert(all.end(), prose.words(list).begin(), prose.words(list).end());
    }
    sort_unique(all);
    return all;
  });
}

/// Any two built-in words in one.
const std::vector<std::string>& CweSupply::pairs(const Prose& prose) const {
  return pairs_.get({}, [&] {
    const std::vector<std::string>& words = built_in(prose);
    std::vector<std::string> all;
    for (const std::string& a : words) {
      for (const std::string& b : words) all.push_back(a + b);
    }
    sort_unique(all);
    return all;
  });
}

CweWords CweSupply::draw(const TaskOptions& options, const Tokenizer& tokenizer, const Prose& prose,
                         PythonRandom& random) const {
  const auto& some = has_wonder_words(options.data) ? words(options.data) : built_in(prose);
  const std::size_t n = words_needed(options.length, tokens_per_item(some, tokenizer));
  const std::size_t n_example = cwe_plan(options.length).example_words;
  if (n <= some.size()) return draw_from(some, n, n_example, random);
  const bool has_more = find_data_file(options.data, kEnglishWords).has_value();
  return draw_from(has_more ? more_words(options.data) : pairs(prose), n, n_example, random);
}

std::vector<TaskSource> CweSupply::sources(const TaskOptions& options) const {
  std::vector<TaskSource> sources = word_sources(options);
  if (find_data_file(options.data, kEnglishWords)) {
    sources.push_back(data_source(options.data, kEnglishWords));
  } else if (has_wonder_words(options.data) &&
             words_needed(options.length, 2) > words(options.data).size()) {
    sources.push_back(built_in_source("word pairs"));
  }
  return sources;
}

}  // namespace sala
