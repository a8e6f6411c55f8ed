// Cuts text into the pieces that byte-pair encoding never merges across.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/text/regex.h"

namespace sala {

/// A chain of splitting steps, each applied to every piece of the one before it.
class PreTokenizer {
 public:
  /// Matches become pieces of their own, and so does what lies between them.
  void isolate(Regex pattern) { steps_.emplace_back(std::move(pattern)); }
  void isolate(std::string literal) { steps_.emplace_back(std::move(literal)); }
  /// Every occurrence begins a piece.
  void cut_before(std::string literal) { steps_.emplace_back(Cut{std::move(literal)}); }

  bool is_empty() const { return steps_.empty(); }
  /// Writes the end offset of each piece of valid UTF-8 `text`, in order; no piece is empty.
  void split(std::string_view text, std::vector<std::size_t>& ends, RegexScratch& scratch) const;

 private:
  struct Cut {
    std::string literal;
  };
  std::vector<std::variant<Regex, std::string, Cut>> steps_;
};

}  // namespace sala
