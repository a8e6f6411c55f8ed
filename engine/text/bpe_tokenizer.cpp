// The stages of encoding, each over what the one before it left whole.
// SPDX-License-Identifier: Apache-2.0
#include "engine/text/bpe_tokenizer.h"

#include "engine/base/error.h"
#include "engine/text/check_text.h"

namespace sala {
namespace {

void append(Encoding& out, TokenId id, std::size_t begin) {
  out.ids.push_back(id);
  out.begin.push_back(static_cast<std::int64_t>(begin));
}

}  // namespace

Encoding BpeTokenizer::encode(std::string_view text) const {
  check_text(text);
  Encoding out;
  scratch_.with([&](Scratch& scratch) {
    for (const auto& part : parts_.added.split(text, scratch.regex)) {
      if (part.token != nullptr) {
        append(out, part.token->id, part.begin);
      } else {
        encode_raw({text.substr(part.begin, part.end - part.begin), part.begin}, out, scratch);
      }
    }
  });
  return out;
}

void BpeTokenizer::encode_raw(const AlignedView& view, Encoding& out, Scratch& scratch) const {
  AlignedText normalized;
  AlignedView seen = view;
  if (!parts_.normalizer.empty()) {
    normalized = rewrite(parts_.normalizer, view);
    seen = normalized.view();
  }
  for (const auto& part : parts_.normalized_added.split(seen.text, scratch.regex)) {
    if (part.token != nullptr) {
      append(out, part.token->id, seen.source_of(part.begin));
    } else {
      encode_normalized(seen.sub(part.begin, part.end), out, scratch);
    }
  }
}

void BpeTokenizer::encode_normalized(const AlignedView& view, Encoding& out,
                                     Scratch& scratch) const {
  AlignedText prefixed;
  AlignedView seen = view;
  if (!parts_.prefixes.empty()) {
    prefixed = rewrite(parts_.prefixes, view);
    seen = prefixed.view();
  }
  append_tokens(seen.text, scratch);
  std::size_t at = 0;
  for (const SizedToken& token : scratch.tokens) {
    append(out, token.id, seen.source_of(at));
    at += token.size;
  }
}

void BpeTokenizer::append_tokens(std::string_view text, Scratch& scratch) const {
  scratch.tokens.clear();
  parts_.pre_tokenizer.split(text, scratch.ends, scratch.regex);
  std::size_t begin = 0;
  for (const std::size_t end : scratch.ends) {
    while (begin < end) {
      const std::size_t size = parts_.bpe.find_seam(text.substr(begin, end - begin));
      scratch.cache.append(text.substr(begin, size), scratch.tokens,
                           [&](std::string_view piece, std::vector<SizedToken>& tokens) {
                             parts_.bpe.encode(piece, tokens, scratch.bpe);
                           });
      begin += size;
    }
  }
}

}  // namespace sala
