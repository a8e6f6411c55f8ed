// Longest matching blocks, recursively, with an explicit stack.
// SPDX-License-Identifier: Apache-2.0
#include "harness/scorers/difflib.h"

#include <array>
#include <cstddef>
#include <unordered_map>
#include <utility>
#include <vector>

#include "harness/scorers/text.h"

namespace sala {
namespace {

struct Block {
  std::size_t a = 0;
  std::size_t b = 0;
  std::size_t size = 0;
};

struct Part {
  std::size_t a_begin, a_end, b_begin, b_end;
};

class Matcher {
 public:
  Matcher(std::u32string a, std::u32string b)
      : a_(std::move(a)), b_(std::move(b)), lengths_{Row(b_.size() + 1), Row(b_.size() + 1)} {
    constexpr std::size_t kPopularFrom = 200;
    for (std::size_t j = 0; j < b_.size(); ++j) places_[b_[j]].push_back(j);
    if (b_.size() < kPopularFrom) return;
    const std::size_t most = b_.size() / 100 + 1;
    std::erase_if(places_, [&](const auto& entry) { return entry.second.size() > most; });
  }

  /// Code points in matching blocks.
  std::size_t n_matching() {
    std::size_t sum = 0;
    std::vector<Part> parts{{0, a_.size(), 0, b_.size()}};
    while (!parts.empty()) {
      const Part part = parts.back();
      parts.pop_back();
      const Block block = longest(part);
      if (block.size == 0) continue;
      sum += block.size;
      const auto add = [&](const Part& rest) {
        if (rest.a_begin < rest.a_end && rest.b_begin < rest.b_end) parts.push_back(rest);
      };
      add({part.a_begin, block.a, part.b_begin, block.b});
      add({block.a + block.size, part.a_end, block.b + block.size, part.b_end});
    }
    return sum;
  }

 private:
  using Row = std::vector<std::size_t>;  // by j + 1: length of the match that ends at b[j]

  /// The first of the longest matches in a, then in b.
  Block longest(const Part& part) {
    Block best{part.a_begin, part.b_begin, 0};
    std::vector<std::size_t> touched;  // places of the previous row that are not 0
    for (std::size_t i = part.a_begin; i < part.a_end; ++i) {
      std::vector<std::size_t> now;
      if (const auto found = places_.find(a_[i]); found != places_.end()) {
        for (const std::size_t j : found->second) {
          if (j < part.b_begin) continue;
          if (j >= part.b_end) break;
          const std::size_t size = lengths_[0][j] + 1;
          lengths_[1][j + 1] = size;
          now.push_back(j + 1);
          if (size > best.size) best = {i + 1 - size, j + 1 - size, size};
        }
      }
      for (const std::size_t j : touched) lengths_[0][j] = 0;
      std::swap(lengths_[0], lengths_[1]);
      touched = std::move(now);
    }
    for (const std::size_t j : touched) lengths_[0][j] = 0;
    // Popular code points start no match but lengthen one.
    while (best.a > part.a_begin && best.b > part.b_begin && a_[best.a - 1] == b_[best.b - 1]) {
      --best.a;
      --best.b;
      ++best.size;
    }
    while (best.a + best.size < part.a_end && best.b + best.size < part.b_end &&
           a_[best.a + best.size] == b_[best.b + best.size]) {
      ++best.size;
    }
    return best;
  }

  std::u32string a_;
  std::u32string b_;
  std::unordered_map<char32_t, std::vector<std::size_t>> places_;  // in b, ascending
  std::array<Row, 2> lengths_;                                     // previous row, this row
};

}  // namespace

double sequence_ratio(std::string_view a, std::string_view b) {
  std::u32string first = code_points(a);
  std::u32string second = code_points(b);
  const std::size_t length = first.size() + second.size();
  if (length == 0) return 1;
  Matcher matcher(std::move(first), std::move(second));
  return 2.0 * static_cast<double>(matcher.n_matching()) / static_cast<double>(length);
}

}  // namespace sala
