// Finds the tokens that are cut out of a text before it is normalised or split.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/token.h"
#include "engine/text/regex.h"

namespace sala {

/// An entry of `added_tokens` with the flags of Hugging Face's files.
struct AddedToken {
  TokenId id;
  std::string content;
  bool single_word = false;  // not between letters
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and behind it
  bool normalized = false;   // looked for after the normaliser, in its normalised form
};

/// Cuts texts at added tokens: leftmost first, the longest among those that begin at one place.
/// Constant after construction.
class AddedTokens {
 public:
  /// A stretch of the text; token is null between tokens.
  struct Part {
    std::size_t begin;
    std::size_t end;
    const AddedToken* token;
  };

  /// patterns: what each token is looked for as; none may be empty.
  AddedTokens(std::vector<AddedToken> tokens, std::vector<std::string> patterns);
  /// Each token is looked for as its content.
  explicit AddedTokens(const std::vector<AddedToken>& tokens);

  /// The parts of valid UTF-8 `text`, in order; without tokens the whole text.
  std::vector<Part> split(std::string_view text, RegexScratch& scratch) const;

 private:
  /// Index of the longest pattern at byte `at`; -1 without one.
  std::ptrdiff_t longest_at(std::string_view text, std::size_t at) const;
  bool touches_word(std::string_view text, std::size_t begin, std::size_t end,
                    RegexScratch& scratch) const;

  std::vector<AddedToken> tokens_;
  std::vector<std::string> patterns_;
  std::array<std::vector<std::size_t>, 256> by_first_byte_;  // longest pattern first
  Regex word_;
};

}  // namespace sala
