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

/// A token and how many bytes of the text it stands for.
struct SizedToken {
  TokenId id;
  std::uint32_t size;
};

/// Working memory of BpeModel::encode, kept between calls; not to be shared between threads.
struct BpeScratch {
  struct Symbol {
    TokenId id;
    std::uint32_t size;
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

/// What a piece is cut into before its parts are merged.
enum class BpeUnits {
  bytes,       // byte-level vocabularies: the 256 bytes are tokens
  characters,  // SentencePiece's: characters, or <0x00> to <0xFF> for those that are no token
};

/// Merges the units of a piece, lowest rank first and leftmost among equals. Constant after load.
class BpeModel {
 public:
  /// vocab: token text (bytes) to id, with all 256 bytes as the units need them; throws Error
  /// naming the first that is missing. merges: pairs by rank; both halves and their union must be
  /// in the vocabulary. whole_pieces: a piece that is itself a token is not merged
  /// (`ignore_merges`).
  BpeModel(std::string_view where, BpeUnits units, TokenMap vocab,
           const std::vector<std::pair<std::string, std::string>>& merges, bool whole_pieces);

  /// Appends the tokens of valid UTF-8 `piece`. Time n log n in its bytes.
  void encode(std::string_view piece, std::vector<SizedToken>& tokens, BpeScratch& scratch) const;

  /// End of a front of `piece`, not empty, that can be encoded apart from the rest: no merge joins
  /// the characters on both sides. Between words, mostly.
  std::size_t find_seam(std::string_view piece) const;

 private:
  struct Merge {
    std::int32_t rank;
    TokenId merged;
  };
  const Merge* find(TokenId left, TokenId right) const;
  void find_byte_tokens(std::string_view where);
  void note_joint(std::string_view left, std::string_view right);
  void cut_into_units(std::string_view piece, BpeScratch& scratch) const;

  BpeUnits units_;
  TokenMap vocab_;
  std::array<TokenId, 256> byte_ids_{};
  std::unordered_map<std::uint64_t, Merge> merges_;
  bool whole_pieces_;
  // One bit for the hash of each two characters that some merge joins; empty: no seam is looked
  // for.
  std::vector<bool> joints_;
};

}  // namespace sala
