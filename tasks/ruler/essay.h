// The essay haystack with the sentences that came with it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sala {

/// essay.json repeated without end, cut into the sentences of essay.sents.json. Constant after
/// load.
class Essay {
 public:
  /// Throws Error when a file is missing or malformed, or when the sentences are another text's.
  explicit Essay(const std::vector<std::string>& data);

  /// Sentences of the first n words, the last one as far as it goes.
  std::vector<std::string_view> sentences(std::int64_t n_words) const;

 private:
  /// Byte where word n begins in the endless text.
  std::size_t byte_of_word(std::size_t n) const;
  std::string_view slice(std::size_t begin, std::size_t end) const;

  std::string text_;  // twice, each time with a space behind, so that slices may cross the seam
  std::size_t period_ = 0;           // bytes of the text and its space
  std::vector<std::size_t> words_;   // byte where each begins
  std::vector<std::size_t> starts_;  // byte where each sentence begins
  std::size_t first_again_ = 0;      // first of starts_ that counts in later rounds
};

}  // namespace sala
