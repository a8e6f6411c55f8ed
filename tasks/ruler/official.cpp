// The search for a size, the attempts of a sample, and the states between samples.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/ruler/official.h"

#include <algorithm>
#include <limits>

#include "engine/base/error.h"

namespace sala {
namespace {

// Upstream draws at its smallest size for ever. Real cases needed 795 draws.
constexpr int kMaxFailures = 20000;

}  // namespace

OfficialRandom::OfficialRandom(std::uint64_t seed)
    : python(seed), numpy(static_cast<std::uint32_t>(seed)) {
  if (seed > std::numeric_limits<std::uint32_t>::max()) {
    throw Error("--seed", "is {}, expected less than 2^32 in official mode: NumPy takes no more",
                seed);
  }
}

void SteppedGenerator::fail_search(std::int64_t n) const {
  throw Error(cell().task,
              "the official generator fails at length {}: it cannot make a prompt of {} units",
              cell().length, n);
}

std::int64_t SteppedGenerator::probe_tokens(std::int64_t n, const Tokenizer& tokenizer,
                                            OfficialRandom& random) const {
  const auto made = attempt(0, n, random);
  if (!made) fail_search(n);
  return tokenizer.count(made->draft.text);
}

std::int64_t SteppedGenerator::search_length(std::int64_t n, const Tokenizer& tokenizer,
                                             OfficialRandom& random) const {
  return probe_tokens(n, tokenizer, random) + cell().tokens_to_generate;
}

std::int64_t SteppedGenerator::search_limit(const Tokenizer& tokenizer,
                                            OfficialRandom& random) const {
  const double tokens_per_unit =
      static_cast<double>(probe_tokens(step_, tokenizer, random)) / static_cast<double>(step_);
  const double estimate = static_cast<double>(cell().length) / tokens_per_unit * 3;
  return std::max(static_cast<std::int64_t>(estimate), 2 * step_);
}

std::int64_t SteppedGenerator::find_size(const Tokenizer& tokenizer, OfficialRandom& random) {
  std::int64_t low = step_;
  std::int64_t high = search_limit(tokenizer, random);
  std::int64_t best = step_;
  while (low <= high) {
    const std::int64_t middle = (low + high) / 2;
    if (search_length(middle, tokenizer, random) <= cell().length) {
      best = middle;
      low = middle + 1;
    } else {
      high = middle - 1;
    }
  }
  return best;
}

OfficialDraft SteppedGenerator::sample(std::int64_t i, std::int64_t size,
                                       const Tokenizer& tokenizer, OfficialRandom& random) const {
  constexpr auto kNone = std::numeric_limits<std::int64_t>::max();
  std::int64_t n = size;
  std::int64_t shortest = kNone;
  for (int failures = 0; failures < kMaxFailures;) {
    if (auto made = attempt(i, n, random)) {
      const std::int64_t length = length_of(*made, tokenizer);
      if (length <= cell().length) return *std::move(made);
      shortest = std::min(shortest, length);
    }
    if (n > step_) {
      n -= step_;
    } else {
      ++failures;
    }
  }
  throw Error(cell().task,
              "length {} is too short: sample {} fitted in none of {} draws of {} units, the least "
              "that the official generator takes; {}; the strict mode needs less",
              cell().length, i, kMaxFailures, n,
              shortest == kNone
                  ? "no prompt of that size exists; try a longer one"
                  : fmt::format("the shortest had {0} tokens: try a length from {0}", shortest));
}

OfficialStream::OfficialStream(std::unique_ptr<OfficialGenerator> generator,
                               const Tokenizer& tokenizer)
    : generator_(std::move(generator)) {
  OfficialRandom random(generator_->cell().seed);
  size_ = generator_->find_size(tokenizer, random);
  before_.push_back(random);
}

OfficialDraft OfficialStream::sample(std::int64_t i, const Tokenizer& tokenizer) {
  const std::lock_guard lock(mutex_);
  const auto next = static_cast<std::int64_t>(before_.size());
  for (std::int64_t j = std::min(i, next - 1);; ++j) {
    OfficialRandom random = before_[static_cast<std::size_t>(j)];
    OfficialDraft made = generator_->sample(j, size_, tokenizer, random);
    if (j + 1 == static_cast<std::int64_t>(before_.size())) before_.push_back(random);
    if (j == i) return made;
  }
}

}  // namespace sala
