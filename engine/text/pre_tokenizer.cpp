// Runs the splitting steps one after the other over lists of piece ends.
// SPDX-License-Identifier: Apache-2.0
#include "engine/text/pre_tokenizer.h"

#include <optional>
#include <utility>

#include "engine/base/utf8.h"

namespace sala {
namespace {

using Match = std::optional<std::pair<std::size_t, std::size_t>>;

/// Appends the ends of the matches and of what is between them; the piece begins at `base`.
template <typename Find>
void isolate_matches(std::string_view piece, std::size_t base, std::vector<std::size_t>& ends,
                     const Find& find) {
  std::size_t done = 0;
  std::size_t from = 0;
  while (from < piece.size()) {
    const Match match = find(from);
    if (!match || match->first == piece.size()) break;
    if (match->first == match->second) {  // an empty match splits nothing
      from = match->first;
      next_code_point(piece, from);
      continue;
    }
    if (match->first > done) ends.push_back(base + match->first);
    ends.push_back(base + match->second);
    done = from = match->second;
  }
  if (done < piece.size()) ends.push_back(base + piece.size());
}

Match find_literal(std::string_view text, std::string_view literal, std::size_t from) {
  const std::size_t at = text.find(literal, from);
  if (at == std::string_view::npos) return std::nullopt;
  return std::pair{at, at + literal.size()};
}

}  // namespace

void PreTokenizer::split(std::string_view text, std::vector<std::size_t>& ends,
                         RegexScratch& scratch) const {
  ends.clear();
  if (text.empty()) return;
  ends.push_back(text.size());
  std::vector<std::size_t> next;
  for (const auto& step : steps_) {
    next.clear();
    std::size_t begin = 0;
    for (const std::size_t end : ends) {
      // A step sees its piece alone: look-ahead must not reach into the next one.
      const std::string_view piece = text.substr(begin, end - begin);
      if (const auto* regex = std::get_if<Regex>(&step)) {
        isolate_matches(piece, begin, next,
                        [&](std::size_t from) { return regex->find(piece, from, scratch); });
      } else if (const auto* literal = std::get_if<std::string>(&step)) {
        isolate_matches(piece, begin, next,
                        [&](std::size_t from) { return find_literal(piece, *literal, from); });
      } else {
        const std::string& mark = std::get<Cut>(step).literal;
        std::size_t at = piece.find(mark, 1);
        for (; at != std::string_view::npos; at = piece.find(mark, at + 1)) {
          next.push_back(begin + at);
        }
        next.push_back(end);
      }
      begin = end;
    }
    ends.swap(next);
  }
}

}  // namespace sala
