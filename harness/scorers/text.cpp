// Text as the benchmarks' Python code sees it: code points, words, replacements.
// SPDX-License-Identifier: Apache-2.0
#include "harness/scorers/text.h"

#include <algorithm>

#include "engine/base/utf8.h"

namespace sala {

std::u32string code_points(std::string_view text) {
  std::u32string points;
  points.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) points += next_code_point(text, at);
  return points;
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  bool inside = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    if (is_white_space(next_code_point(text, at))) {
      inside = false;
      continue;
    }
    if (!inside) words.emplace_back();
    inside = true;
    words.back() += text.substr(begin, at - begin);
  }
  return words;
}

std::vector<std::string> split_at(std::string_view text, std::string_view separator) {
  std::vector<std::string> pieces;
  for (;;) {
    const std::size_t at = text.find(separator);
    pieces.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return pieces;
    text.remove_prefix(at + separator.size());
  }
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (;;) {
    const std::size_t at = text.find(from);
    out += text.substr(0, at);
    if (at == std::string_view::npos) return out;
    out += to;
    text.remove_prefix(at + from.size());
  }
}

std::string blank_out(std::string_view text, std::initializer_list<std::string_view> strings) {
  std::string out(text);
  for (const std::string_view string : strings) out = replace_all(out, string, " ");
  return out;
}

std::vector<std::string> digit_runs(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789";
  std::vector<std::string> runs;
  for (std::size_t at = text.find_first_of(kDigits); at != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_not_of(kDigits, at), text.size());
    runs.emplace_back(text.substr(at, end - at));
    at = text.find_first_of(kDigits, end);
  }
  return runs;
}

std::string_view first_line(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of('\n'), text.size()));
  return text.substr(0, text.find('\n'));
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace sala
