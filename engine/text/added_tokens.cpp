// One scan over the text with a list of candidates for every first byte.
// SPDX-License-Identifier: Apache-2.0
#include "engine/text/added_tokens.h"

#include <algorithm>

#include "engine/base/utf8.h"

namespace sala {
namespace {

// Unicode's \w, which PCRE2's leaves marks and joiners out of.
constexpr const char* kWord = R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200C}\x{200D}])";

/// Unicode's White_Space, which Python adds four control characters to.
bool is_unicode_space(char32_t c) {
  return is_white_space(c) && (c < 0x1C || c > 0x1F);
}

/// Where the character that ends at byte `end` begins.
std::size_t last_character(std::string_view text, std::size_t end) {
  std::size_t at = end - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80) --at;
  return at;
}

std::size_t skip_spaces(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    std::size_t next = at;
    if (!is_unicode_space(next_code_point(text, next))) break;
    at = next;
  }
  return at;
}

std::size_t skip_spaces_back(std::string_view text, std::size_t floor, std::size_t end) {
  while (end > floor) {
    const std::size_t begin = last_character(text, end);
    std::size_t at = begin;
    if (begin < floor || !is_unicode_space(next_code_point(text, at))) break;
    end = begin;
  }
  return end;
}

std::vector<std::string> contents_of(const std::vector<AddedToken>& tokens) {
  std::vector<std::string> contents;
  contents.reserve(tokens.size());
  for (const AddedToken& token : tokens) contents.push_back(token.content);
  return contents;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, std::vector<std::string> patterns)
    : tokens_(std::move(tokens)), patterns_(std::move(patterns)), word_("tokenizer", kWord) {
  for (std::size_t i = 0; i < patterns_.size(); ++i) {
    by_first_byte_[static_cast<unsigned char>(patterns_[i].front())].push_back(i);
  }
  for (auto& candidates : by_first_byte_) {
    std::stable_sort(candidates.begin(), candidates.end(), [&](std::size_t a, std::size_t b) {
      return patterns_[a].size() > patterns_[b].size();
    });
  }
}

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens)
    : AddedTokens(tokens, contents_of(tokens)) {}

std::ptrdiff_t AddedTokens::longest_at(std::string_view text, std::size_t at) const {
  for (const std::size_t i : by_first_byte_[static_cast<unsigned char>(text[at])]) {
    if (text.substr(at).starts_with(patterns_[i])) return static_cast<std::ptrdiff_t>(i);
  }
  return -1;
}

bool AddedTokens::touches_word(std::string_view text, std::size_t begin, std::size_t end,
                               RegexScratch& scratch) const {
  const auto is_word = [&](std::size_t from, std::size_t to) {
    return word_.find(text.substr(from, to - from), 0, scratch).has_value();
  };
  if (begin > 0 && is_word(last_character(text, begin), begin)) return true;
  if (end == text.size()) return false;
  std::size_t after = end;
  next_code_point(text, after);
  return is_word(end, after);
}

std::vector<AddedTokens::Part> AddedTokens::split(std::string_view text,
                                                  RegexScratch& scratch) const {
  std::vector<Part> parts;
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::ptrdiff_t found = longest_at(text, at);
    if (found < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<std::size_t>(found)];
    std::size_t begin = at;
    std::size_t end = at + patterns_[static_cast<std::size_t>(found)].size();
    at = end;
    if (token.single_word && touches_word(text, begin, end, scratch)) continue;
    if (token.lstrip) begin = skip_spaces_back(text, done, begin);
    if (token.rstrip) end = skip_spaces(text, end);
    if (done < begin) parts.push_back({done, begin, nullptr});
    parts.push_back({begin, end, &token});
    done = end;
  }
  if (done < text.size()) parts.push_back({done, text.size(), nullptr});
  return parts;
}

}  // namespace sala
