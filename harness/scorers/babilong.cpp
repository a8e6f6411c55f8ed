// BABILong's comparison: the labels that the answer names, less those of the question.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/base/error.h"
#include "engine/base/lower.h"
#include "engine/base/utf8.h"
#include "harness/scorers/scorers.h"
#include "harness/scorers/text.h"

namespace sala {
namespace {

using Finds = bool (*)(std::string_view text, std::string_view label);

bool is_word_character(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || static_cast<unsigned char>(c) >= 0x80;
}

/// The label with neither a letter nor a digit right before or behind it.
bool contains_word(std::string_view text, std::string_view label) {
  for (std::size_t at = text.find(label); at != std::string_view::npos;
       at = text.find(label, at + 1)) {
    const std::size_t end = at + label.size();
    const bool joined_before = at > 0 && is_word_character(text[at - 1]);
    const bool joined_behind = end < text.size() && is_word_character(text[end]);
    if (!joined_before && !joined_behind) return true;
  }
  return false;
}

bool is_right(const std::string& target, std::string_view output, std::string_view question,
              const std::vector<std::string>& labels, Finds finds) {
  std::set<std::string> found;
  for (const std::string& label : labels) {
    if (finds(output, label) && !finds(question, label)) found.insert(label);
  }
  if (!contains(target, ",") || target.size() <= 3) return found == std::set<std::string>{target};
  const std::vector<std::string> parts = split_at(target, ",");
  return found.size() == parts.size() &&
         std::all_of(parts.begin(), parts.end(),
                     [&](const std::string& part) { return found.contains(part); });
}

/// The text up to the first of the marks.
std::string_view before(std::string_view text, std::initializer_list<std::string_view> marks) {
  for (const std::string_view mark : marks) text = text.substr(0, text.find(mark));
  return text;
}

}  // namespace

Score score_babilong(const std::vector<std::string>& references, const Answer& answer) {
  if (references.size() < 3) {
    throw Error("babilong", "a sample has {} references, expected target, question and labels",
                references.size());
  }
  const std::string target = lower(references[0]);
  const std::string question = lower(references[1]);
  std::vector<std::string> labels;
  for (std::size_t i = 2; i < references.size(); ++i) labels.push_back(lower(references[i]));
  const std::string text = lower(answer.text);
  // The published code looks for "Question" in text that it made lower case, and never finds it.
  const auto official = before(text, {".", "<context>", "<example>"});
  const auto repaired = before(official, {"question"});
  const bool right = is_right(target, official, question, labels, contains);
  const bool right_words = is_right(target, repaired, question, labels, contains_word);
  const nlohmann::json detail{{"whole_words", right_words ? 1 : 0}};
  if (right) return {1, "", detail.dump()};
  const std::string_view said = strip(official);
  const bool names_label = std::any_of(labels.begin(), labels.end(), [&](const std::string& label) {
    return contains(official, label);
  });
  const char* missed = said.empty() ? "empty" : names_label ? "miss" : "format";
  return {0, missed, detail.dump()};
}

}  // namespace sala
