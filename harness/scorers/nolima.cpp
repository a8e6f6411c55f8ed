// NoLiMa's four metrics; the first is the score.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/utf8.h"
#include "harness/scorers/scorers.h"
#include "harness/scorers/text.h"

namespace sala {

Score score_nolima(const std::vector<std::string>& references, const Answer& answer) {
  if (references.empty()) throw Error("nolima", "a sample has no gold answer");
  const std::string_view text = strip(answer.text);
  std::string_view last_line = text;
  if (const std::size_t at = text.rfind('\n'); at != std::string_view::npos) {
    last_line.remove_prefix(at + 1);
  }
  const auto any = [&](const auto& matches) {
    return std::any_of(references.begin(), references.end(), matches);
  };
  const auto within = [](std::string_view where) {
    return [where](const std::string& gold) { return contains(where, gold); };
  };
  const auto equals = [](std::string_view what) {
    return [what](const std::string& gold) { return what == gold; };
  };
  const bool right = any(within(answer.text));
  const nlohmann::json detail{{"em", any(equals(text)) ? 1 : 0},
                              {"lastline_contains", any(within(last_line)) ? 1 : 0},
                              {"lastline_em", any(equals(last_line)) ? 1 : 0}};
  return {right ? 1.0 : 0.0,
          right ? "" : error_class(text, references.front(), answer.hit_token_limit),
          detail.dump()};
}

}  // namespace sala
