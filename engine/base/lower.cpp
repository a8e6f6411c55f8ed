// One table of ranges for single code points; sigma and the dotted I are the only special cases.
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/lower.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "engine/base/utf8.h"

namespace sala {
namespace {

/// Every step-th code point from first to last is delta away from its lower case.
struct Mapping {
  char32_t first, last;
  std::uint32_t step;
  std::int32_t delta;
};

struct Range {
  char32_t first, last;
};

#include "engine/base/lower_tables.inc"

constexpr char32_t kSigma = 0x3A3;
constexpr char32_t kFinalSigma = 0x3C2;
constexpr char32_t kDottedI = 0x130;

template <typename Table>
auto find(const Table& table, char32_t c) {
  const auto* end = std::end(table);
  const auto* found =
      std::partition_point(std::begin(table), end, [&](const auto& row) { return row.last < c; });
  return found != end && found->first <= c ? found : nullptr;
}

char32_t lower(char32_t c) {
  const Mapping* mapping = find(kMappings, c);
  if (mapping == nullptr || (c - mapping->first) % mapping->step != 0) return c;
  return static_cast<char32_t>(static_cast<std::int32_t>(c) + mapping->delta);
}

void append_utf8(char32_t c, std::string& text) {
  const auto put = [&](char32_t byte) { text += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

bool is_skipped(char32_t c) {
  return find(kCaseIgnorable, c) != nullptr;
}

/// Whether a cased letter is next, skipping what has no say, in a text read forwards.
bool cased_follows(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const char32_t c = next_code_point(text, at);
    if (!is_skipped(c)) return find(kCased, c) != nullptr;
  }
  return false;
}

bool cased_precedes(std::string_view text, std::size_t end) {
  while (end > 0) {
    std::size_t begin = end - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    std::size_t at = begin;
    const char32_t c = next_code_point(text, at);
    if (!is_skipped(c)) return find(kCased, c) != nullptr;
    end = begin;
  }
  return false;
}

}  // namespace

std::string lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const char byte = text[at];
    if (static_cast<unsigned char>(byte) < 0x80) {
      out += byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte;
      ++at;
      continue;
    }
    const std::size_t begin = at;
    const char32_t c = next_code_point(text, at);
    if (c == kSigma) {
      const bool is_final = cased_precedes(text, begin) && !cased_follows(text, at);
      append_utf8(is_final ? kFinalSigma : lower(c), out);
    } else if (c == kDottedI) {
      out += "i\u0307";
    } else if (const char32_t small = lower(c); small != c) {
      append_utf8(small, out);
    } else {
      out += text.substr(begin, at - begin);
    }
  }
  return out;
}

}  // namespace sala
