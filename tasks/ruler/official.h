// RULER's own generators: one stream of random numbers, from which each sample takes its turn.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "harness/task.h"
#include "tasks/fit.h"
#include "tasks/numpy_random.h"
#include "tasks/python_random.h"

namespace sala {

/// What a data set depends on.
struct OfficialCell {
  std::string task;  // for errors
  std::int64_t length = 0;
  std::uint64_t seed = 0;
  std::int64_t tokens_to_generate = 0;
  std::string frame;  // chat template, task and answer prefix, still with their slots
};

/// The two generators that upstream draws from.
struct OfficialRandom {
  /// Throws Error for a seed that NumPy would not take.
  explicit OfficialRandom(std::uint64_t seed);
  PythonRandom python;
  NumpyRandom numpy;
};

struct OfficialDraft {
  Draft draft;
  std::vector<std::string> references;
  std::string cluster;  // empty: the sample stands alone
};

/// One of RULER's generator scripts for one cell. Every method draws from `random` what upstream
/// draws, no more and no less.
class OfficialGenerator {
 public:
  virtual ~OfficialGenerator() = default;
  OfficialGenerator(const OfficialGenerator&) = delete;
  OfficialGenerator& operator=(const OfficialGenerator&) = delete;

  /// Units for every sample, found once before the first. Throws Error where upstream crashes or
  /// would not end.
  virtual std::int64_t find_size(const Tokenizer& tokenizer, OfficialRandom& random) = 0;
  /// Sample i, of at most `size` units. Throws as find_size() does.
  virtual OfficialDraft sample(std::int64_t i, std::int64_t size, const Tokenizer& tokenizer,
                               OfficialRandom& random) const = 0;

  const OfficialCell& cell() const { return cell_; }

 protected:
  explicit OfficialGenerator(OfficialCell cell) : cell_(std::move(cell)) {}

  /// Tokens of a prompt together with those to generate.
  std::int64_t length_of(const OfficialDraft& made, const Tokenizer& tokenizer) const {
    return tokenizer.count(made.draft.text) + cell_.tokens_to_generate;
  }

 private:
  OfficialCell cell_;
};

/// The four scripts that look for the largest size by bisection and shrink single samples in steps.
class SteppedGenerator : public OfficialGenerator {
 public:
  std::int64_t find_size(const Tokenizer& tokenizer, OfficialRandom& random) override;
  OfficialDraft sample(std::int64_t i, std::int64_t size, const Tokenizer& tokenizer,
                       OfficialRandom& random) const override;

 protected:
  SteppedGenerator(OfficialCell cell, std::int64_t step)
      : OfficialGenerator(std::move(cell)), step_(step) {}

  /// The prompt of n units; nothing when the draw is impossible, though what was drawn stays drawn.
  virtual std::optional<OfficialDraft> attempt(std::int64_t i, std::int64_t n,
                                               OfficialRandom& random) const = 0;
  /// Length of n units as the search sees it. Throws Error when the draw is impossible.
  virtual std::int64_t search_length(std::int64_t n, const Tokenizer& tokenizer,
                                     OfficialRandom& random) const;
  /// Upper end of the search, after one probe.
  virtual std::int64_t search_limit(const Tokenizer& tokenizer, OfficialRandom& random) const;
  /// Tokens of a probe of n units, without those to generate.
  virtual std::int64_t probe_tokens(std::int64_t n, const Tokenizer& tokenizer,
                                    OfficialRandom& random) const;
  [[noreturn]] void fail_search(std::int64_t n) const;

  std::int64_t step() const { return step_; }

 private:
  std::int64_t step_;
};

/// The samples of one cell in order, with the state before each, so that any can be made again. May
/// be shared between threads.
class OfficialStream {
 public:
  OfficialStream(std::unique_ptr<OfficialGenerator> generator, const Tokenizer& tokenizer);

  /// Sample i; the ones before it are made first when they were not yet.
  OfficialDraft sample(std::int64_t i, const Tokenizer& tokenizer);

 private:
  std::unique_ptr<OfficialGenerator> generator_;
  std::mutex mutex_;
  std::int64_t size_ = 0;
  std::vector<OfficialRandom> before_;  // state before sample i
};

}  // namespace sala
