// Remembers the tokens of pieces that come again and again.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/text/bpe.h"

namespace sala {

/// Not to be shared between threads.
class PieceCache {
 public:
  /// Appends the tokens of `piece`: remembered ones, or those that encode(piece, tokens) appends.
  template <typename Encode>
  void append(std::string_view piece, std::vector<SizedToken>& tokens, const Encode& encode) {
    if (piece.size() > kMaxBytes) {
      encode(piece, tokens);
      return;
    }
    if (const auto found = ranges_.find(piece); found != ranges_.end()) {
      const auto from = tokens_.begin() + found->second.begin;
      tokens.insert(tokens.end(), from, from + found->second.size);
      return;
    }
    const std::size_t before = tokens.size();
    encode(piece, tokens);
    if (ranges_.size() == kMaxPieces) {
      ranges_.clear();
      tokens_.clear();
    }
    ranges_.emplace(piece, Range{static_cast<std::uint32_t>(tokens_.size()),
                                 static_cast<std::uint32_t>(tokens.size() - before)});
    tokens_.insert(tokens_.end(), tokens.begin() + static_cast<std::ptrdiff_t>(before),
                   tokens.end());
  }

 private:
  struct Range {
    std::uint32_t begin;
    std::uint32_t size;
  };
  static constexpr std::size_t kMaxBytes = 48;  // longer pieces seldom come again
  static constexpr std::size_t kMaxPieces = 1 << 16;

  std::unordered_map<std::string, Range, TextHash, std::equal_to<>> ranges_;
  std::vector<SizedToken> tokens_;
};

}  // namespace sala
