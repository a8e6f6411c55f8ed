// Byte-level BPE: special tokens, then pieces, then merges.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/text/bpe.h"
#include "engine/text/pre_tokenizer.h"
#include "engine/text/tokenizer.h"

namespace sala {

/// What a tokenizer.json says, checked.
struct ByteLevelParts {
  BpeModel bpe;
  PreTokenizer pre_tokenizer{};
  bool add_prefix_space = false;
  std::vector<std::optional<std::string>> tokens{};      // bytes by id; ids may have gaps
  std::vector<std::pair<std::string, TokenId>> added{};  // matched before everything else
  std::optional<TokenId> bos{};
  std::string sha256{};
};

class ByteLevelTokenizer : public Tokenizer {
 public:
  explicit ByteLevelTokenizer(ByteLevelParts parts);
  ~ByteLevelTokenizer() override;

  Encoding encode(std::string_view text) const override;
  std::string decode(std::span<const TokenId> ids) const override;
  std::int64_t vocab_size() const override {
    return static_cast<std::int64_t>(parts_.tokens.size());
  }
  std::optional<TokenId> bos() const override { return parts_.bos; }
  const std::string& sha256() const override { return parts_.sha256; }

 private:
  struct Scratch;
  std::unique_ptr<Scratch> borrow() const;
  void give_back(std::unique_ptr<Scratch> scratch) const;
  /// Index into `added` of the longest added token at byte `at`; -1 without one.
  std::ptrdiff_t added_at(std::string_view text, std::size_t at) const;
  void encode_segment(std::string_view segment, std::int64_t base, Encoding& out,
                      Scratch& scratch) const;
  void encode_pieces(std::string_view text, std::vector<TokenId>& ids, Scratch& scratch) const;

  ByteLevelParts parts_;
  std::array<std::vector<std::size_t>, 256> added_by_byte_;  // longest first
  // Each call works with one of these, so that their caches stay warm and no lock is held.
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Scratch>> idle_;
};

}  // namespace sala
