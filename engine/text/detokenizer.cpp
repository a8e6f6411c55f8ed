// Concatenation, but for the spaces that encoding put in.
// SPDX-License-Identifier: Apache-2.0
#include "engine/text/detokenizer.h"

#include "engine/base/error.h"

namespace sala {

const Detokenizer::Token& Detokenizer::at(TokenId id) const {
  const auto index = static_cast<std::size_t>(id);
  if (id < 0 || index >= tokens_.size() || !tokens_[index]) {
    throw Error("tokenizer", "token id {} is not in the vocabulary of {} ids", id, tokens_.size());
  }
  return *tokens_[index];
}

std::string Detokenizer::operator()(std::span<const TokenId> ids) const {
  std::string text;
  LeadingSpace leading = leading_;
  for (const TokenId id : ids) {
    const Token& token = at(id);
    if (token.is_added) {
      text += token.bytes;
      leading = after_added_ ? LeadingSpace::drop_one : LeadingSpace::keep;
      continue;
    }
    const bool has_space = token.bytes.starts_with(' ');
    if (leading == LeadingSpace::drop_all_of_token) {
      for (const char c : token.bytes) {
        if (c != ' ') text += c;
      }
    } else {
      text.append(token.bytes, has_space && leading == LeadingSpace::drop_one ? 1 : 0);
    }
    leading = LeadingSpace::keep;
  }
  return text;
}

}  // namespace sala
