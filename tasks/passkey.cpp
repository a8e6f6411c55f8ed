// Builds "task, noise, key, noise, question", sized in characters.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/passkey.h"

#include <fmt/format.h>

#include "tasks/sampled_task.h"

namespace sala {
namespace {

constexpr std::int64_t kTokensToGenerate = 10;
constexpr std::string_view kTask =
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. "
    "I will quiz you about the important information there.";
constexpr std::string_view kQuestion = "What is the pass key?";
constexpr std::string_view kAnswerPrefix = " The pass key is";

/// Characters of the repeated noise line, at its mean number of tokens.
class NoiseCharacters : public SizeModel {
 public:
  explicit NoiseCharacters(const Tokenizer& tokenizer) {
    const std::string line = " " + std::string(kNoiseLine);
    tokens_per_character_ =
        static_cast<double>(tokenizer.count(line)) / static_cast<double>(line.size());
  }
  double tokens_of(std::int64_t n) override {
    return static_cast<double>(n) * tokens_per_character_;
  }
  std::int64_t units_within(double tokens) override {
    return tokens < 0 ? 0 : static_cast<std::int64_t>(tokens / tokens_per_character_);
  }

 private:
  double tokens_per_character_;
};

class Passkey : public SampledTask {
 public:
  Passkey(const char* name, const char* summary)
      : SampledTask({name, 1, summary, "epfml/landmark-attention, llama/run_test.py", "passkey"},
                    kTokensToGenerate) {}

 protected:
  Attempt try_make(const TaskOptions& options, std::int64_t i,
                   const Tokenizer& tokenizer) const override {
    PythonRandom random = random_for(options, i);
    const std::uint64_t seed = random.getrandbits(64);
    const double depth = random.random();
    const std::string key = std::to_string(random.randint(1, 50000));
    const std::string needle =
        fmt::format("The pass key is {}. Remember it. {} is the pass key.", key, key);

    std::string noise;
    const auto build = [&](std::int64_t n) {
      const auto total = static_cast<std::size_t>(n);
      while (noise.size() < total) noise.append(kNoiseLine).append(1, ' ');
      const auto before = static_cast<std::size_t>(depth * static_cast<double>(n + 1));
      std::string text = fmt::format("{}\n{}\n", kTask, std::string_view(noise).substr(0, before));
      const ByteSpan span{text.size(), text.size() + needle.size()};
      text += fmt::format("{}\n{}\n{}{}", needle, std::string_view(noise).substr(0, total - before),
                          kQuestion, kAnswerPrefix);
      return Draft{std::move(text), {span}};
    };
    NoiseCharacters sizes(tokenizer);
    Fit fitted = fit_text(options, tokenizer, kAnswerPrefix, 0, sizes, build);
    Sample sample;
    sample.answer_prefix = kAnswerPrefix;
    sample.references = {key};
    sample.cluster = cluster_name(seed);
    return finish(options, tokenizer, std::move(fitted), std::move(sample));
  }
};

}  // namespace

std::unique_ptr<Task> make_passkey(const char* name, const char* summary) {
  return std::make_unique<Passkey>(name, summary);
}

}  // namespace sala
