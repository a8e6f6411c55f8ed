// Tells apart the ways in which an answer can lack a value.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iterator>
#include <numeric>
#include <string>

#include "engine/base/lower.h"
#include "harness/scorers/scorers.h"

namespace sala {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_value_char(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
         static_cast<unsigned char>(c) >= 0x80;
}

/// Runs of letters, digits and hyphens: what a value could be.
std::vector<std::string_view> candidates(std::string_view answer) {
  std::vector<std::string_view> found;
  for (std::size_t at = 0; at < answer.size();) {
    std::size_t end = at;
    while (end < answer.size() && is_value_char(answer[end])) ++end;
    if (end > at) found.push_back(answer.substr(at, end - at));
    at = end + 1;
  }
  return found;
}

/// The same, as many in a row as the reference has, joined by single spaces.
std::vector<std::string> windows(const std::vector<std::string_view>& words, std::size_t n) {
  std::vector<std::string> joined;
  for (std::size_t at = 0; at + n <= words.size(); ++at) {
    std::string& window = joined.emplace_back(words[at]);
    for (std::size_t i = 1; i < n; ++i) window.append(1, ' ').append(words[at + i]);
  }
  return joined;
}

/// Whether the answer says that there is nothing to answer.
bool is_refusal(std::string_view answer) {
  constexpr std::string_view kPhrases[] = {
      "i cannot",       "i can't",       "i can not",     "i'm sorry",           "i am sorry",
      "i am unable",    "i'm unable",    "i do not know", "i don't know",        "cannot find",
      "could not find", "couldn't find", "not mentioned", "does not mention",    "doesn't mention",
      "no information", "not provided",  "not specified", "cannot be determined"};
  const std::string text = lower(answer);
  return std::any_of(std::begin(kPhrases), std::end(kPhrases), [&](std::string_view phrase) {
    return text.find(phrase) != std::string::npos;
  });
}

/// Whether a candidate is of the reference's kind: digits for a number, as many hyphens for a UUID.
bool has_shape(std::string_view candidate, std::string_view reference) {
  if (std::all_of(reference.begin(), reference.end(), is_digit)) {
    return std::any_of(candidate.begin(), candidate.end(), is_digit);
  }
  return std::count(candidate.begin(), candidate.end(), '-') ==
         std::count(reference.begin(), reference.end(), '-');
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

std::string error_class(std::string_view answer, std::string_view reference, bool hit_token_limit) {
  const std::vector<std::string_view> values = candidates(answer);
  if (answer.empty()) return "empty";
  if (values.empty()) return hit_token_limit ? "truncated" : "format";
  const std::string_view last = values.back();
  const bool cut_off =
      hit_token_limit && last.data() + last.size() == answer.data() + answer.size();
  if (cut_off && last.size() < reference.size() && reference.starts_with(last)) return "truncated";
  const std::vector<std::string_view> wanted = candidates(reference);
  const std::vector<std::string> near = windows(values, std::max<std::size_t>(1, wanted.size()));
  const bool is_close = std::any_of(near.begin(), near.end(), [&](std::string_view value) {
    // The lengths alone may put a value out of reach.
    return value.size() * 5 <= reference.size() * 7 &&
           edit_distance(value, reference) * 5 <= reference.size() * 2;
  });
  if (is_close) return "garbled";
  if (is_refusal(answer)) return "refusal";
  const bool any_shape = std::any_of(values.begin(), values.end(), [&](std::string_view value) {
    return has_shape(value, reference);
  });
  if (any_shape) return "miss";
  return hit_token_limit ? "truncated" : "format";
}

}  // namespace sala
