// The merge loop: a linked list of symbols and a heap of candidate merges.
// SPDX-License-Identifier: Apache-2.0
#include "engine/text/bpe.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/utf8.h"

namespace sala {
namespace {

constexpr unsigned kJointBits = 20;

std::uint64_t pair_key(TokenId left, TokenId right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

std::size_t joint_of(char32_t left, char32_t right) {
  constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15;
  return ((std::uint64_t{left} << 32 | right) * kGolden) >> (64 - kJointBits);
}

char32_t first_character(std::string_view text) {
  std::size_t at = 0;
  return next_code_point(text, at);
}

char32_t last_character(std::string_view text) {
  std::size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80) --at;
  return next_code_point(text, at);
}

// std::push_heap keeps the largest in front, so "later" sorts the first merge there.
bool is_later(const BpeScratch::Candidate& a, const BpeScratch::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

}  // namespace

BpeModel::BpeModel(std::string_view where, BpeUnits units, TokenMap vocab,
                   const std::vector<std::pair<std::string, std::string>>& merges,
                   bool whole_pieces)
    : units_(units), vocab_(std::move(vocab)), whole_pieces_(whole_pieces) {
  find_byte_tokens(where);
  merges_.reserve(merges.size());
  const auto id_of = [&](const std::string& token, std::size_t rank) {
    const auto found = vocab_.find(token);
    if (found == vocab_.end()) {
      throw Error(where, "model.merges[{}] uses a token of {} bytes that model.vocab lacks", rank,
                  token.size());
    }
    return found->second;
  };
  const auto is_byte = [&](TokenId id) {
    return std::find(byte_ids_.begin(), byte_ids_.end(), id) != byte_ids_.end();
  };
  bool joins_characters = units == BpeUnits::characters && !whole_pieces;
  if (joins_characters) joints_.resize(std::size_t{1} << kJointBits);
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const TokenId left_id = id_of(left, rank);
    const TokenId right_id = id_of(right, rank);
    const Merge merge{static_cast<std::int32_t>(rank), id_of(left + right, rank)};
    // A pair listed twice keeps its last rank, as in the tokenizers library.
    merges_.insert_or_assign(pair_key(left_id, right_id), merge);
    if (!joins_characters) continue;
    joints_[joint_of(last_character(left), first_character(right))] = true;
    // What such a merge joins is not in the names of its tokens.
    joins_characters = !is_byte(left_id) && !is_byte(right_id);
  }
  if (!joins_characters) joints_.clear();
}

void BpeModel::find_byte_tokens(std::string_view where) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool is_unit = units_ == BpeUnits::bytes;
    const auto found = vocab_.find(is_unit ? std::string(1, static_cast<char>(byte))
                                           : fmt::format("<0x{:02X}>", byte));
    if (found == vocab_.end()) {
      throw Error(where, "model.vocab has no token for byte 0x{:02X}; {} needs all 256 bytes", byte,
                  is_unit ? "a byte-level vocabulary" : "byte_fallback");
    }
    byte_ids_[byte] = found->second;
  }
}

const BpeModel::Merge* BpeModel::find(TokenId left, TokenId right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

std::size_t BpeModel::find_seam(std::string_view piece) const {
  if (joints_.empty()) return piece.size();
  std::size_t at = 0;
  char32_t left = next_code_point(piece, at);
  while (at < piece.size()) {
    const std::size_t seam = at;
    const char32_t right = next_code_point(piece, at);
    if (!joints_[joint_of(left, right)]) return seam;
    left = right;
  }
  return piece.size();
}

void BpeModel::cut_into_units(std::string_view piece, BpeScratch& scratch) const {
  auto& symbols = scratch.symbols;
  symbols.clear();
  const auto add = [&](TokenId id, std::size_t size) {
    const auto at = static_cast<std::int32_t>(symbols.size());
    symbols.push_back({id, static_cast<std::uint32_t>(size), at - 1, at + 1});
  };
  for (std::size_t begin = 0; begin < piece.size();) {
    std::size_t end = begin + 1;
    if (units_ == BpeUnits::characters) {
      end = begin;
      next_code_point(piece, end);
      const auto found = vocab_.find(piece.substr(begin, end - begin));
      if (found != vocab_.end()) {
        add(found->second, end - begin);
        begin = end;
      }
    }
    for (; begin < end; ++begin) add(byte_ids_[static_cast<unsigned char>(piece[begin])], 1);
  }
  if (!symbols.empty()) symbols.back().next = -1;
}

void BpeModel::encode(std::string_view piece, std::vector<SizedToken>& tokens,
                      BpeScratch& scratch) const {
  if (whole_pieces_) {
    if (const auto found = vocab_.find(piece); found != vocab_.end()) {
      tokens.push_back({found->second, static_cast<std::uint32_t>(piece.size())});
      return;
    }
  }
  cut_into_units(piece, scratch);
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  heap.clear();
  const auto consider = [&](std::int32_t left) {
    const BpeScratch::Symbol& symbol = symbols[static_cast<std::size_t>(left)];
    if (symbol.next < 0) return false;
    const Merge* merge = find(symbol.id, symbols[static_cast<std::size_t>(symbol.next)].id);
    if (merge == nullptr) return false;
    heap.push_back({merge->rank, left, merge->merged});
    return true;
  };
  for (std::int32_t i = 0; i + 1 < static_cast<std::int32_t>(symbols.size()); ++i) consider(i);
  std::make_heap(heap.begin(), heap.end(), is_later);

  constexpr TokenId kAbsorbed = -1;
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), is_later);
    const BpeScratch::Candidate best = heap.back();
    heap.pop_back();
    BpeScratch::Symbol& left = symbols[static_cast<std::size_t>(best.position)];
    if (left.id == kAbsorbed || left.next < 0) continue;
    BpeScratch::Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    // Either half may have changed since the candidate was queued.
    const Merge* merge = find(left.id, right.id);
    if (merge == nullptr || merge->merged != best.merged) continue;
    left.id = best.merged;
    left.size += right.size;
    left.next = right.next;
    right.id = kAbsorbed;
    if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = best.position;
    if (left.previous >= 0 && consider(left.previous)) {
      std::push_heap(heap.begin(), heap.end(), is_later);
    }
    if (consider(best.position)) std::push_heap(heap.begin(), heap.end(), is_later);
  }
  for (const BpeScratch::Symbol& symbol : symbols) {
    if (symbol.id != kAbsorbed) tokens.push_back({symbol.id, symbol.size});
  }
}

}  // namespace sala
