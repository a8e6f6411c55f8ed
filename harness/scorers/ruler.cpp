// RULER's two string metrics, and what they hide.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/lower.h"
#include "engine/base/utf8.h"
#include "harness/scorers/scorers.h"

namespace sala {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_word_char(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         static_cast<unsigned char>(c) >= 0x80;
}

/// Whether the part is somewhere in the text with neither letter nor digit beside it.
bool contains_word(std::string_view text, std::string_view part) {
  for (std::size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + 1)) {
    const std::size_t end = at + part.size();
    const bool is_begin = at == 0 || !is_word_char(text[at - 1]);
    if (is_begin && (end == text.size() || !is_word_char(text[end]))) return true;
  }
  return false;
}

/// Digits for a number, hexadecimal digits and hyphens in their places for a UUID.
bool has_shape(std::string_view candidate, std::string_view value) {
  return candidate.size() == value.size() &&
         std::equal(candidate.begin(), candidate.end(), value.begin(), [&](char a, char b) {
           if (value.find('-') == std::string_view::npos) return is_digit(a);
           return b == '-' ? a == '-' : is_digit(a) || (a >= 'a' && a <= 'f');
         });
}

/// A needle's number or UUID.
bool is_value(std::string_view reference) {
  if (std::all_of(reference.begin(), reference.end(), is_digit)) return reference.size() == 7;
  return reference.size() == 36 && has_shape(reference, reference) &&
         std::count(reference.begin(), reference.end(), '-') == 4;
}

/// What in the lower-case answer looks like the value, in order.
std::vector<std::string_view> values_like(std::string_view value, std::string_view answer) {
  std::vector<std::string_view> found;
  for (std::size_t at = 0; at < answer.size();) {
    std::size_t end = at;
    while (end < answer.size() && (is_word_char(answer[end]) || answer[end] == '-')) ++end;
    if (has_shape(answer.substr(at, end - at), value)) found.push_back(answer.substr(at, end - at));
    at = end + 1;
  }
  return found;
}

/// What the references have in common with the answer.
struct Hits {
  std::size_t n = 0;
  std::size_t n_words = 0;  // found with neither letter nor digit beside them
  std::string first_missing;
  std::string post;
  nlohmann::json detail;
};

Hits find_hits(const std::vector<std::string>& references, const Answer& answer) {
  if (references.empty()) throw Error("ruler", "a sample has no reference to look for");
  Hits hits;
  hits.post = ruler_post_process(answer.text);
  const std::string text = lower(hits.post);
  std::vector<std::string> wanted;
  for (const std::string& reference : references) {
    wanted.push_back(lower(reference));
    if (contains_word(text, wanted.back())) ++hits.n_words;
    if (text.find(wanted.back()) != std::string::npos) {
      ++hits.n;
    } else if (hits.n + 1 == wanted.size()) {
      hits.first_missing = reference;
    }
  }
  if (!is_value(wanted.front())) return hits;
  const std::vector<std::string_view> values = values_like(wanted.front(), text);
  const auto is_wanted = [&](std::string_view value) {
    return std::find(wanted.begin(), wanted.end(), value) != wanted.end();
  };
  hits.detail["first"] = !values.empty() && is_wanted(values.front()) ? 1 : 0;
  hits.detail["distractors"] = static_cast<std::int64_t>(values.size()) -
                               std::count_if(values.begin(), values.end(), is_wanted);
  return hits;
}

Score scored(double value, double by_word, Hits hits, const Answer& answer) {
  hits.detail["word"] = by_word;
  const std::string detail = hits.detail.dump();
  if (value == 1) return {1, "", detail};
  return {value, error_class(hits.post, hits.first_missing, answer.hit_token_limit), detail};
}

}  // namespace

std::string ruler_post_process(std::string_view text) {
  std::string post(strip(text));
  for (char& c : post) {
    if (static_cast<unsigned char>(c) < 0x20) c = '\n';
  }
  return std::string(strip(post));
}

Score score_ruler_all(const std::vector<std::string>& references, const Answer& answer) {
  Hits hits = find_hits(references, answer);
  const auto n = static_cast<double>(references.size());
  const double value = static_cast<double>(hits.n) / n;
  const double by_word = static_cast<double>(hits.n_words) / n;
  return scored(value, by_word, std::move(hits), answer);
}

Score score_ruler_part(const std::vector<std::string>& references, const Answer& answer) {
  Hits hits = find_hits(references, answer);
  const double value = hits.n > 0 ? 1 : 0;
  const double by_word = hits.n_words > 0 ? 1 : 0;
  return scored(value, by_word, std::move(hits), answer);
}

}  // namespace sala
