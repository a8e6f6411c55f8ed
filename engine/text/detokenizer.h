// From token ids back to text.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/base/token.h"

namespace sala {

/// The space that encoding put in front of a text, to be taken away again.
enum class LeadingSpace {
  keep,
  drop_one,          // of the text
  drop_all_of_token  // of the first token, as the tokenizers library's Metaspace does
};

/// Writes the bytes of tokens one after the other.
class Detokenizer {
 public:
  struct Token {
    std::string bytes;
    bool is_added = false;  // cut out of the text before anything was put in front of the rest
  };

  /// tokens: by id, with gaps. after_added: text behind an added token begins like a text.
  Detokenizer(std::vector<std::optional<Token>> tokens, LeadingSpace leading, bool after_added)
      : tokens_(std::move(tokens)), leading_(leading), after_added_(after_added) {}

  /// Throws Error for an id that no token has.
  std::string operator()(std::span<const TokenId> ids) const;
  std::size_t size() const { return tokens_.size(); }

 private:
  const Token& at(TokenId id) const;

  std::vector<std::optional<Token>> tokens_;
  LeadingSpace leading_;
  bool after_added_;
};

}  // namespace sala
