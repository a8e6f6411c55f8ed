// Runs the splitting steps one after the other over lists of piece ends.
// SPDX-License-Identifier: Apache-2.0
#include "engine/text/pre_tokenizer.h"

#include <optional>
#include <utility>

#include "engine/base/utf8.h"

namespace sala {
namespace {

using Match = std::optional<std::pair<std::size_t, std::size_t>>;

Match find(const std::variant<Regex, std::string>& step, std::string_view text, std::size_t from,
           RegexScratch& scratch) {
  if (const auto* regex = std::get_if<Regex>(&step)) return regex->find(text, from, scratch);
  const auto& literal = std::get<std::string>(step);
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
      std::size_t done = 0;
      std::size_t from = 0;
      while (from < piece.size()) {
        const Match match = find(step, piece, from, scratch);
        if (!match) break;
        if (match->first == match->second) {  // an empty match splits nothing
          from = match->first;
          if (from < piece.size()) next_code_point(piece, from);
          if (match->first == piece.size()) break;
          continue;
        }
        if (match->first > done) next.push_back(begin + match->first);
        next.push_back(begin + match->second);
        done = from = match->second;
      }
      if (done < piece.size()) next.push_back(end);
      begin = end;
    }
    ends.swap(next);
  }
}

}  // namespace sala
