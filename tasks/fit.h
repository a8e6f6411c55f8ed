// Finds the largest prompt that stays within a number of tokens.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/text/tokenizer.h"
#include "tasks/haystack.h"

namespace sala {

struct ByteSpan {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// A prompt's text and where its asked needles are in it, in the order of the references.
struct Draft {
  std::string text;
  std::vector<ByteSpan> needles;
};

/// Predicts how many tokens n units of filler add to a prompt.
class SizeModel {
 public:
  virtual ~SizeModel() = default;
  virtual double tokens_of(std::int64_t n_units) = 0;
  /// Largest n with tokens_of(n) <= tokens; 0 when there is none.
  virtual std::int64_t units_within(double tokens) = 0;
};

/// The units of a haystack drawn so far, each tokenised once together with its separator.
class Units : public SizeModel {
 public:
  Units(Haystack haystack, const Tokenizer& tokenizer)
      : haystack_(std::move(haystack)), tokenizer_(tokenizer) {}

  double tokens_of(std::int64_t n_units) override;
  std::int64_t units_within(double tokens) override;
  const std::string& separator() const { return haystack_.separator; }
  const std::string& operator[](std::int64_t i) const {
    return units_[static_cast<std::size_t>(i)];
  }

 private:
  void draw();

  Haystack haystack_;
  const Tokenizer& tokenizer_;
  std::vector<std::string> units_;
  std::vector<std::int64_t> sums_{0};  // tokens of the first n units
};

struct Fit {
  Draft draft;
  Encoding encoding;
  std::int64_t n_units = 0;
  std::int64_t needed = 0;  // tokens of the text; over the limit when even min_units do not fit
};

/// The text of most units, at least min_units, with at most max_tokens tokens. The size model only
/// says where to look: what counts is the encoding of the whole text.
Fit fit(const Tokenizer& tokenizer, std::int64_t max_tokens, std::int64_t min_units,
        SizeModel& sizes, const std::function<Draft(std::int64_t n_units)>& build);

}  // namespace sala
