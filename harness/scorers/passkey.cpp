// The first number of an answer against the key.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/utf8.h"
#include "harness/scorers/scorers.h"

namespace sala {

Score score_passkey(const std::vector<std::string>& references, const Answer& answer) {
  if (references.size() != 1) {
    throw Error("passkey", "a sample has {} references, expected 1", references.size());
  }
  constexpr const char* kDigits = "0123456789";
  const std::string& text = answer.text;
  const auto number = [&](const std::string& digits) {
    const std::size_t first = digits.find_first_not_of('0');
    return first == std::string::npos ? std::string("0") : digits.substr(first);
  };
  const std::size_t begin = text.find_first_of(kDigits);
  std::string found;
  if (begin != std::string::npos) {
    const std::size_t end = std::min(text.find_first_not_of(kDigits, begin), text.size());
    found = text.substr(begin, end - begin);
    if (number(found) == number(references[0])) return {1, "", ""};
    // What follows the first number does not count.
    if (end < text.size()) found += ' ';
  }
  return {0,
          error_class(found.empty() ? strip(text) : found, references[0], answer.hit_token_limit),
          ""};
}

}  // namespace sala
