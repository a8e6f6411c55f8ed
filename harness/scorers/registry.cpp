// The table of scorers.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

#include "engine/base/error.h"
#include "harness/scorers/scorers.h"

namespace sala {
namespace {

// Sorted by name.
constexpr Scorer kScorers[] = {
    {"passkey", 1, "first number of the answer equals the key", score_passkey},
    {"perplexity", 1, "geometric mean of the prompt's token probabilities", score_perplexity},
    {"ruler_all", 1, "share of the references that the answer contains", score_ruler_all},
    {"ruler_part", 1, "any reference is in the answer", score_ruler_part},
};

}  // namespace

const Scorer& find_scorer(std::string_view name) {
  const auto* found = std::find_if(std::begin(kScorers), std::end(kScorers),
                                   [&](const Scorer& scorer) { return scorer.name == name; });
  if (found == std::end(kScorers)) {
    throw Error("scorers", "unknown scorer '{}'; the scorers are {}", name,
                fmt::join(scorer_names(), ", "));
  }
  return *found;
}

std::vector<std::string> scorer_names() {
  std::vector<std::string> names;
  for (const Scorer& scorer : kScorers) names.emplace_back(scorer.name);
  return names;
}

}  // namespace sala
