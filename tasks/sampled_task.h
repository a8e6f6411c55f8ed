// What the generated tasks share: a generator of random numbers a sample, the limit, the positions.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "harness/task.h"
#include "tasks/fit.h"
#include "tasks/haystack.h"
#include "tasks/python_random.h"

namespace sala {

/// The generator of sample i: seeded with the first 8 bytes of a SHA-256, so that samples depend on
/// neither order nor tokenizer.
PythonRandom strict_random(std::string_view task, std::int64_t length, std::uint64_t seed,
                           std::int64_t i);

/// Name of everything drawn from one haystack seed.
std::string cluster_name(std::uint64_t haystack_seed);

/// A task whose prompt grows with its filler until it meets the limit.
class SampledTask : public Task {
 public:
  const TaskInfo& info() const final { return info_; }
  /// Strict mode; any other is an Error.
  Sample make(const TaskOptions& options, std::int64_t i,
              const Tokenizer& tokenizer) const override;

 protected:
  /// The smallest prompt of this sample and its answer take this many tokens, over the limit.
  struct TooShort {
    std::int64_t needed = 0;
  };
  using Attempt = std::variant<Sample, TooShort>;

  SampledTask(TaskInfo info, std::int64_t tokens_to_generate)
      : info_(std::move(info)), tokens_to_generate_(tokens_to_generate) {}

  virtual Attempt try_make(const TaskOptions& options, std::int64_t i,
                           const Tokenizer& tokenizer) const = 0;

  PythonRandom random_for(const TaskOptions& options, std::int64_t i) const {
    return strict_random(info_.name, options.length, options.seed, i);
  }
  /// Tokens of the limit that the text may use.
  std::int64_t text_tokens(const TaskOptions& options, const Tokenizer& tokenizer) const;
  /// fit() of the text that is sent: what `build` makes, which ends with the answer prefix, in the
  /// chat template.
  Fit fit_text(const TaskOptions& options, const Tokenizer& tokenizer,
               std::string_view answer_prefix, std::int64_t min_units, SizeModel& sizes,
               const std::function<Draft(std::int64_t n_units)>& build) const;
  /// Takes over text, ids and needle positions into `sample`, whose references and answer_prefix
  /// are already set.
  Sample complete(Sample sample, Draft draft, Encoding encoding, const Tokenizer& tokenizer) const;
  /// The same for what fit_text() found, unless it is over the limit.
  Attempt finish(const TaskOptions& options, const Tokenizer& tokenizer, Fit fitted,
                 Sample sample) const;

  const Texts& texts() const { return texts_; }
  std::int64_t tokens_to_generate() const { return tokens_to_generate_; }

 private:
  std::int64_t smallest_length(TaskOptions options, std::int64_t i,
                               const Tokenizer& tokenizer) const;

  TaskInfo info_;
  std::int64_t tokens_to_generate_;
  Texts texts_;
};

}  // namespace sala
