// Reads the lists and keeps the one order in which upstream draws from them.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/ruler/words.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "engine/base/utf8.h"
#include "tasks/data_files.h"

namespace sala {
namespace {

constexpr const char* kAdjectives = "wonderwords/adjectivelist.txt";
constexpr const char* kNouns = "wonderwords/nounlist.txt";
constexpr const char* kVerbs = "wonderwords/verblist.txt";

std::string_view without_trailing_space(std::string_view line) {
  std::size_t end = 0;
  for (std::size_t at = 0; at < line.size();) {
    if (!is_white_space(next_code_point(line, at))) end = at;
  }
  return line.substr(0, end);
}

}  // namespace

void sort_unique(std::vector<std::string>& words) {
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
}

std::vector<std::string> read_words(const std::vector<std::string>& data, std::string_view name) {
  const auto path = data_file(data, name);
  const std::string text = read_utf8(path);
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    words.emplace_back(without_trailing_space(std::string_view(text).substr(at, end - at)));
    at = end + 1;
  }
  if (words.empty()) throw Error(path.string(), "holds no words, expected one a line");
  return words;
}

KeyLists wonder_key_lists(const std::vector<std::string>& data) {
  KeyLists lists{read_words(data, kAdjectives), read_words(data, kNouns)};
  sort_unique(lists.adjectives);
  sort_unique(lists.nouns);
  return lists;
}

KeyWords::KeyWords(KeyLists lists) : lists_(std::move(lists)) {
  // Keys of "old-fashioned" fall among those of "old": one block lists the keys of both.
  std::vector<std::string> stems;
  stems.reserve(lists_.adjectives.size());
  for (const std::string& adjective : lists_.adjectives) stems.push_back(adjective + "-");
  std::sort(stems.begin(), stems.end());
  std::size_t begin = 0;
  for (std::size_t first = 0, last = 0; first < stems.size(); first = last) {
    for (last = first + 1; last < stems.size() && stems[last].starts_with(stems[first]);) ++last;
    Block block{begin, stems[first], {}};
    begin += (last - first) * lists_.nouns.size();
    if (last - first > 1) {
      for (std::size_t i = first; i < last; ++i) {
        for (const std::string& noun : lists_.nouns) block.listed.push_back(stems[i] + noun);
      }
      std::sort(block.listed.begin(), block.listed.end());
    }
    blocks_.push_back(std::move(block));
  }
}

std::string KeyWords::operator[](std::size_t i) const {
  const auto after =
      std::upper_bound(blocks_.begin(), blocks_.end(), i,
                       [](std::size_t wanted, const Block& block) { return wanted < block.begin; });
  const Block& block = *(after - 1);
  if (!block.listed.empty()) return block.listed[i - block.begin];
  return block.adjective + lists_.nouns[i - block.begin];
}

std::vector<std::string> wonder_words(const std::vector<std::string>& data) {
  std::vector<std::string> words;
  for (const char* list : {kNouns, kAdjectives, kVerbs}) {
    const std::vector<std::string> read = read_words(data, list);
    words.insert(words.end(), read.begin(), read.end());
  }
  sort_unique(words);
  return words;
}

std::vector<std::string> english_words(const std::vector<std::string>& data) {
  const auto path = data_file(data, "english_words.json");
  using nlohmann::json;
  std::vector<std::string> words;
  // Collected while parsing: an object would forget the order or take quadratic time to keep it.
  const auto collect = [&](int depth, json::parse_event_t event, const json& value) {
    if (event != json::parse_event_t::value) return true;
    if (depth == 1) words.push_back(value.get<std::string>());
    return false;
  };
  const auto refuse = [&](const char* why) {
    throw Error(path.string(), "expected JSON of the form {{\"0\": \"word\", ...}}: {}", why);
  };
  try {
    if (!json::parse(read_text_file(path), collect).is_object()) refuse("it is no object");
  } catch (const json::exception& error) {
    refuse(error.what());
  }
  if (words.empty()) throw Error(path.string(), "holds no words");
  return words;
}

bool has_wonder_words(const std::vector<std::string>& data) {
  return find_data_file(data, kNouns).has_value();
}

std::vector<TaskSource> word_sources(const TaskOptions& options) {
  const auto& data = options.data;
  if (options.mode == "strict" && !has_wonder_words(data)) return {built_in_source("words")};
  return {data_source(data, kAdjectives), data_source(data, kNouns), data_source(data, kVerbs)};
}

}  // namespace sala
