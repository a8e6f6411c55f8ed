// Encoding with a cache of pieces, decoding by concatenation.
// SPDX-License-Identifier: Apache-2.0
#include "engine/text/byte_level_tokenizer.h"

#include <algorithm>
#include <unordered_map>

#include "engine/base/error.h"
#include "engine/base/utf8.h"

namespace sala {
namespace {

constexpr std::size_t kMaxCachedBytes = 48;  // longer pieces seldom come again
constexpr std::size_t kMaxCachedPieces = 1 << 16;

}  // namespace

struct ByteLevelTokenizer::Scratch {
  struct Range {
    std::uint32_t begin;
    std::uint32_t size;
  };
  RegexScratch regex;
  BpeScratch bpe;
  std::vector<std::size_t> ends;
  std::string prefixed;
  std::unordered_map<std::string, Range, TextHash, std::equal_to<>> cache;
  std::vector<TokenId> cached_ids;
};

ByteLevelTokenizer::ByteLevelTokenizer(ByteLevelParts parts) : parts_(std::move(parts)) {
  for (std::size_t i = 0; i < parts_.added.size(); ++i) {
    added_by_byte_[static_cast<unsigned char>(parts_.added[i].first.front())].push_back(i);
  }
  for (auto& candidates : added_by_byte_) {
    std::stable_sort(candidates.begin(), candidates.end(), [&](std::size_t a, std::size_t b) {
      return parts_.added[a].first.size() > parts_.added[b].first.size();
    });
  }
}

ByteLevelTokenizer::~ByteLevelTokenizer() = default;

std::unique_ptr<ByteLevelTokenizer::Scratch> ByteLevelTokenizer::borrow() const {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) return std::make_unique<Scratch>();
  auto scratch = std::move(idle_.back());
  idle_.pop_back();
  return scratch;
}

void ByteLevelTokenizer::give_back(std::unique_ptr<Scratch> scratch) const {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(scratch));
}

std::ptrdiff_t ByteLevelTokenizer::added_at(std::string_view text, std::size_t at) const {
  for (const std::size_t i : added_by_byte_[static_cast<unsigned char>(text[at])]) {
    if (text.substr(at).starts_with(parts_.added[i].first)) return static_cast<std::ptrdiff_t>(i);
  }
  return -1;
}

Encoding ByteLevelTokenizer::encode(std::string_view text) const {
  if (const std::size_t bad = find_invalid_utf8(text); bad != std::string_view::npos) {
    throw Error("tokenizer", "the text is not valid UTF-8 at byte {} (0x{:02X})", bad,
                static_cast<unsigned char>(text[bad]));
  }
  auto scratch = borrow();
  Encoding out;
  std::size_t segment = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::ptrdiff_t added = added_at(text, at);
    if (added < 0) {
      ++at;
      continue;
    }
    const auto& [content, id] = parts_.added[static_cast<std::size_t>(added)];
    encode_segment(text.substr(segment, at - segment), static_cast<std::int64_t>(segment), out,
                   *scratch);
    out.ids.push_back(id);
    out.begin.push_back(static_cast<std::int64_t>(at));
    at += content.size();
    segment = at;
  }
  encode_segment(text.substr(segment), static_cast<std::int64_t>(segment), out, *scratch);
  give_back(std::move(scratch));
  return out;
}

void ByteLevelTokenizer::encode_segment(std::string_view segment, std::int64_t base, Encoding& out,
                                        Scratch& scratch) const {
  if (segment.empty()) return;
  const std::size_t first = out.ids.size();
  const bool prefix = parts_.add_prefix_space && !segment.starts_with(' ');
  if (prefix) {
    scratch.prefixed.assign(1, ' ').append(segment);
    encode_pieces(scratch.prefixed, out.ids, scratch);
  } else {
    encode_pieces(segment, out.ids, scratch);
  }
  std::int64_t at = base - (prefix ? 1 : 0);
  for (std::size_t i = first; i < out.ids.size(); ++i) {
    out.begin.push_back(std::max(at, base));
    at += static_cast<std::int64_t>(parts_.tokens[static_cast<std::size_t>(out.ids[i])]->size());
  }
}

void ByteLevelTokenizer::encode_pieces(std::string_view text, std::vector<TokenId>& ids,
                                       Scratch& scratch) const {
  parts_.pre_tokenizer.split(text, scratch.ends, scratch.regex);
  std::size_t begin = 0;
  for (const std::size_t end : scratch.ends) {
    const std::string_view piece = text.substr(begin, end - begin);
    begin = end;
    if (piece.size() > kMaxCachedBytes) {
      parts_.bpe.encode(piece, ids, scratch.bpe);
      continue;
    }
    if (const auto found = scratch.cache.find(piece); found != scratch.cache.end()) {
      const auto from = scratch.cached_ids.begin() + found->second.begin;
      ids.insert(ids.end(), from, from + found->second.size);
      continue;
    }
    const std::size_t before = ids.size();
    parts_.bpe.encode(piece, ids, scratch.bpe);
    if (scratch.cache.size() == kMaxCachedPieces) {
      scratch.cache.clear();
      scratch.cached_ids.clear();
    }
    scratch.cache.emplace(piece,
                          Scratch::Range{static_cast<std::uint32_t>(scratch.cached_ids.size()),
                                         static_cast<std::uint32_t>(ids.size() - before)});
    scratch.cached_ids.insert(scratch.cached_ids.end(),
                              ids.begin() + static_cast<std::ptrdiff_t>(before), ids.end());
  }
}

std::string ByteLevelTokenizer::decode(std::span<const TokenId> ids) const {
  std::string text;
  for (const TokenId id : ids) {
    const auto index = static_cast<std::size_t>(id);
    if (id < 0 || index >= parts_.tokens.size() || !parts_.tokens[index]) {
      throw Error("tokenizer", "token id {} is not in the vocabulary of {} ids", id,
                  parts_.tokens.size());
    }
    text += *parts_.tokens[index];
  }
  return text;
}

}  // namespace sala
