// Tokenizers of tokenizer.json files: added tokens, rewriting, pieces, then merges.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/added_tokens.h"
#include "engine/text/bpe.h"
#include "engine/text/detokenizer.h"
#include "engine/text/piece_cache.h"
#include "engine/text/pre_tokenizer.h"
#include "engine/text/rewrite.h"
#include "engine/text/scratch_pool.h"
#include "engine/text/tokenizer.h"

namespace sala {

/// What a tokenizer.json says, checked.
struct BpeTokenizerParts {
  AddedTokens added;  // looked for in the text as it is
  std::vector<Rewrite> normalizer;
  AddedTokens normalized_added;   // looked for behind the normaliser
  std::vector<Rewrite> prefixes;  // what the pre-tokenizer changes before it splits
  PreTokenizer pre_tokenizer;
  BpeModel bpe;
  Detokenizer detokenizer;
  std::optional<TokenId> bos;
  std::string sha256;
};

class BpeTokenizer : public Tokenizer {
 public:
  explicit BpeTokenizer(BpeTokenizerParts parts) : parts_(std::move(parts)) {}

  Encoding encode(std::string_view text) const override;
  std::string decode(std::span<const TokenId> ids) const override {
    return parts_.detokenizer(ids);
  }
  std::int64_t vocab_size() const override {
    return static_cast<std::int64_t>(parts_.detokenizer.size());
  }
  std::optional<TokenId> bos() const override { return parts_.bos; }
  const std::string& sha256() const override { return parts_.sha256; }

 private:
  struct Scratch {
    RegexScratch regex;
    BpeScratch bpe;
    std::vector<std::size_t> ends;
    PieceCache cache;
    std::vector<SizedToken> tokens;
  };
  void encode_raw(const AlignedView& view, Encoding& out, Scratch& scratch) const;
  void encode_normalized(const AlignedView& view, Encoding& out, Scratch& scratch) const;
  void append_tokens(std::string_view text, Scratch& scratch) const;

  BpeTokenizerParts parts_;
  mutable ScratchPool<Scratch> scratch_;
};

}  // namespace sala
