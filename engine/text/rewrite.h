// Changes that a tokenizer makes to a text before it looks for tokens, with the way back.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace sala {

/// Part of a text, changed or not, that knows where each of its bytes came from.
struct AlignedView {
  std::string_view text;
  std::size_t base = 0;                   // place of the first byte in the original
  const std::uint32_t* source = nullptr;  // or that of every byte

  std::size_t source_of(std::size_t i) const { return source != nullptr ? source[i] : base + i; }
  AlignedView sub(std::size_t begin, std::size_t end) const {
    return {text.substr(begin, end - begin), base + begin,
            source != nullptr ? source + begin : nullptr};
  }
};

/// A changed text and, for each byte, the byte of the original that it stands for; never falling.
struct AlignedText {
  std::string text;
  std::vector<std::uint32_t> source;

  AlignedView view() const { return {text, 0, source.data()}; }
};

/// Unicode normalisation form C.
struct Nfc {};

/// Puts `content` in front.
struct Prepend {
  std::string content;
  bool unless_there = false;   // not before a text that begins with it
  bool at_start_only = false;  // only where the original begins
};

/// Replaces every occurrence of `from`, which is not empty.
struct Replace {
  std::string from;
  std::string to;
};

using Rewrite = std::variant<Nfc, Prepend, Replace>;

/// Applies the steps in order to valid UTF-8 shorter than 4 GiB; an empty text stays empty.
AlignedText rewrite(const std::vector<Rewrite>& steps, const AlignedView& view);

}  // namespace sala
