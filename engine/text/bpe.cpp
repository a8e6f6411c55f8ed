// The merge loop: a linked list of symbols and a heap of candidate merges.
// SPDX-License-Identifier: Apache-2.0
#include "engine/text/bpe.h"

#include <algorithm>

#include "engine/base/error.h"

namespace sala {
namespace {

std::uint64_t pair_key(TokenId left, TokenId right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

// std::push_heap keeps the largest in front, so "later" sorts the first merge there.
bool is_later(const BpeScratch::Candidate& a, const BpeScratch::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

}  // namespace

BpeModel::BpeModel(std::string_view where, TokenMap vocab,
                   const std::vector<std::pair<std::string, std::string>>& merges,
                   bool whole_pieces)
    : vocab_(std::move(vocab)), whole_pieces_(whole_pieces) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    const auto found = vocab_.find(std::string(1, static_cast<char>(byte)));
    if (found == vocab_.end()) {
      throw Error(where,
                  "model.vocab has no token for byte 0x{:02X}; a byte-level vocabulary needs all "
                  "256 bytes",
                  byte);
    }
    byte_ids_[byte] = found->second;
  }
  merges_.reserve(merges.size());
  const auto id_of = [&](const std::string& token, std::size_t rank) {
    const auto found = vocab_.find(token);
    if (found == vocab_.end()) {
      throw Error(where, "model.merges[{}] uses a token of {} bytes that model.vocab lacks", rank,
                  token.size());
    }
    return found->second;
  };
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const Merge merge{static_cast<std::int32_t>(rank), id_of(left + right, rank)};
    // A pair listed twice keeps its last rank, as in the tokenizers library.
    merges_.insert_or_assign(pair_key(id_of(left, rank), id_of(right, rank)), merge);
  }
}

const BpeModel::Merge* BpeModel::find(TokenId left, TokenId right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

void BpeModel::encode(std::string_view piece, std::vector<TokenId>& ids,
                      BpeScratch& scratch) const {
  if (whole_pieces_) {
    if (const auto found = vocab_.find(piece); found != vocab_.end()) {
      ids.push_back(found->second);
      return;
    }
  }
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  symbols.clear();
  heap.clear();
  for (std::size_t i = 0; i < piece.size(); ++i) {
    const auto at = static_cast<std::int32_t>(i);
    symbols.push_back({byte_ids_[static_cast<unsigned char>(piece[i])], at - 1,
                       i + 1 < piece.size() ? at + 1 : -1});
  }
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
    left.next = right.next;
    right.id = kAbsorbed;
    if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = best.position;
    if (left.previous >= 0 && consider(left.previous)) {
      std::push_heap(heap.begin(), heap.end(), is_later);
    }
    if (consider(best.position)) std::push_heap(heap.begin(), heap.end(), is_later);
  }
  for (const BpeScratch::Symbol& symbol : symbols) {
    if (symbol.id != kAbsorbed) ids.push_back(symbol.id);
  }
}

}  // namespace sala
