// A prompt of sentences alone.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/perplexity.h"

#include "tasks/sampled_task.h"

namespace sala {
namespace {

class Perplexity : public SampledTask {
 public:
  Perplexity(const char* name, const char* summary)
      : SampledTask({name, 1, summary, "", "perplexity"}, 0) {}

 protected:
  Attempt try_make(const TaskOptions& options, std::int64_t i,
                   const Tokenizer& tokenizer) const override {
    const std::uint64_t seed = random_for(options, i).getrandbits(64);
    Units units(texts().haystack(options.data, seed), tokenizer);
    const auto build = [&](std::int64_t n) {
      units.tokens_of(n);  // draws the units
      Draft draft{units[0], {}};
      for (std::int64_t unit = 1; unit < n; ++unit) draft.text += units.separator() + units[unit];
      return draft;
    };
    Fit fitted = fit_text(options, tokenizer, "", 1, units, build);
    Sample sample;
    sample.cluster = cluster_name(seed);
    sample.prompt_logprobs = true;
    return finish(options, tokenizer, std::move(fitted), std::move(sample));
  }
};

}  // namespace

std::unique_ptr<Task> make_perplexity(const char* name, const char* summary) {
  return std::make_unique<Perplexity>(name, summary);
}

}  // namespace sala
