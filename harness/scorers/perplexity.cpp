// Negative log-likelihood of a prompt, over all and by position.
// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "harness/scorers/scorers.h"

namespace sala {

Score score_perplexity(const std::vector<std::string>& /*references*/, const Answer& answer) {
  const std::vector<float>& logprobs = answer.prompt_logprobs;
  if (logprobs.empty()) {
    throw Error("perplexity", "the engine returned no log-probabilities of the prompt");
  }
  double total = 0;
  nlohmann::json buckets = nlohmann::json::array();
  // Value i belongs to the token at position i + 1; position 0 is predicted by nothing.
  for (std::size_t from = 1; from <= logprobs.size(); from *= 2) {
    const std::size_t to = std::min(2 * from, logprobs.size() + 1);
    double nll = 0;
    for (std::size_t position = from; position < to; ++position) {
      const double logprob = logprobs[position - 1];
      if (!std::isfinite(logprob)) {
        throw Error("perplexity", "the log-probability at position {} is {}", position, logprob);
      }
      nll -= logprob;
    }
    total += nll;
    const std::size_t n = to - from;
    buckets.push_back(
        {{"from", from}, {"to", to}, {"n", n}, {"nll", nll / static_cast<double>(n)}});
  }
  const double mean = total / static_cast<double>(logprobs.size());
  const nlohmann::json detail{{"nll", mean}, {"buckets", buckets}};
  return {std::exp(-mean), "", detail.dump()};
}

}  // namespace sala
