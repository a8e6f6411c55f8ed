// The extension point for scorers: how an answer is judged.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sala {

struct Answer {
  std::string text;  // generated text only
  bool hit_token_limit = false;
  std::vector<float> prompt_logprobs;  // when the sample asked for them
};

struct Score {
  double value = 0;         // in [0, 1]
  std::string error_class;  // empty when value is 1; else miss, garbled, truncated, format, empty
  std::string detail;       // JSON object or empty
};

struct Scorer {
  std::string_view name;
  int version;
  std::string_view summary;
  Score (*score)(const std::vector<std::string>& references, const Answer& answer);
};

/// Throws Error when the name is unknown.
const Scorer& find_scorer(std::string_view name);
std::vector<std::string> scorer_names();

}  // namespace sala
