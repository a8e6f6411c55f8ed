// Byte-pair encoding of one piece of text.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/base/token.h"

namespace sala {

/// Hash of strings that looks views up without copying them.
struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>{}(text);
  }
};

using TokenMap = std::unordered_map<std::string, TokenId, TextHash, std::equal_to<>>;

/// Working memory of BpeModel::encode, kept between calls; not to be shared between threads.
struct BpeScratch {
  struct Symbol {
    TokenId id;
    std::int32_t previous;
    std::int32_t next;  // -1 after the last
  };
  struct Candidate {
    std::int32_t rank;
    std::int32_t position;
    TokenId merged;
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

/// Merges the bytes of a piece, lowest rank first and leftmost among equals. Constant after load.
class BpeModel {
 public:
  /// vocab: token bytes to id, with every single byte in it (throws Error naming the first that is
  /// missing). merges: byte pairs by rank; both halves and their union must be in the vocabulary.
  /// whole_pieces: a piece that is itself a token is not merged (`ignore_merges`).
  BpeModel(std::string_view where, TokenMap vocab,
           const std::vector<std::pair<std::string, std::string>>& merges, bool whole_pieces);

  /// Appends the ids of `piece`. Time n log n in its bytes.
  void encode(std::string_view piece, std::vector<TokenId>& ids, BpeScratch& scratch) const;

 private:
  struct Merge {
    std::int32_t rank;
    TokenId merged;
  };
  const Merge* find(TokenId left, TokenId right) const;

  TokenMap vocab_;
  std::array<TokenId, 256> byte_ids_{};
  std::unordered_map<std::uint64_t, Merge> merges_;
  bool whole_pieces_;
};

}  // namespace sala
