// Passkey prompts as the repositories that made them famous build them, character by character.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/suites/passkey_original.h"

#include <algorithm>

#include "engine/base/error.h"
#include "tasks/haystack.h"
#include "tasks/suites/suite_task.h"
#include "tasks/suites/suites.h"

namespace sala {
namespace {

constexpr std::int64_t kMostLines = 10000;  // of noise, in the longest published prompt
constexpr std::int64_t kTokensToGenerate = 10;
constexpr std::string_view kAnswerPrefix = "What is the pass key? The pass key is";

PasskeyPrompt build(std::int64_t n, std::int64_t before, const std::string& key) {
  const auto most = kMostLines * static_cast<std::int64_t>(kNoiseLine.size() + 1) - 1;
  if (n > most) {
    throw Error("passkey", "{} characters of noise were asked for; the published noise has {}", n,
                most);
  }
  std::string noise;
  while (static_cast<std::int64_t>(noise.size()) < n) noise.append(kNoiseLine).append(1, ' ');
  const std::string_view all(noise);
  PasskeyPrompt prompt{{}, key, before};
  std::string& text = prompt.draft.text;
  text = fmt::format(
      "There is an important info hidden inside a lot of irrelevant text. Find it and memorize "
      "them. I will quiz you about the important information there.\n{}\n",
      all.substr(0, static_cast<std::size_t>(before)));
  const std::size_t begin = text.size();
  text += fmt::format("The pass key is {}. Remember it. {} is the pass key.", key, key);
  prompt.draft.needles = {{begin, text.size()}};
  text +=
      fmt::format("\n{}\n{}", all.substr(0, static_cast<std::size_t>(n - before)), kAnswerPrefix);
  return prompt;
}

enum class Variant : std::uint8_t { landmark, longlora, yarn };

struct Entry {
  const char* name;
  const char* summary;
  const char* source;
  Variant variant;
};
constexpr Entry kEntries[] = {
    {"passkey_landmark", "landmark attention's passkey; the length is characters of noise",
     "epfml/landmark-attention, llama/run_test.py", Variant::landmark},
    {"passkey_longlora", "LongLoRA's passkey, 3.75 characters of noise a token",
     "dvlab-research/LongLoRA, passkey_retrivial.py", Variant::longlora},
    {"passkey_yarn", "YaRN's passkey, noise in steps of 128 characters up to the length",
     "jquesnelle/yarn, eval/passkey.py", Variant::yarn},
};

class OriginalPasskey final : public SuiteTask {
 public:
  explicit OriginalPasskey(const Entry& entry)
      : SuiteTask({.name = entry.name,
                   .summary = entry.summary,
                   .source = entry.source,
                   .scorer = "passkey",
                   .nominal_length = true}),
        variant_(entry.variant) {}

  Sample make(const TaskOptions& options, std::int64_t i,
              const Tokenizer& tokenizer) const override {
    if (i < 0) throw Error(info().name, "sample {} does not exist; the first one is 0", i);
    PasskeyPrompt prompt = draw(options, i, tokenizer);
    Sample sample;
    sample.index = i;
    const bool as_answer = variant_ == Variant::longlora;
    sample.max_new_tokens = as_answer ? tokenizer.count(prompt.key) : kTokensToGenerate;
    sample.references = {prompt.key};
    sample.answer_prefix = kAnswerPrefix;
    sample.cluster = row_cluster(info().name, options.length, i);
    return complete(options, tokenizer, std::move(prompt.draft), std::move(sample), TooLong::allow);
  }

 private:
  PasskeyPrompt draw(const TaskOptions& options, std::int64_t i, const Tokenizer& tokenizer) const {
    switch (variant_) {
      case Variant::landmark:
        return draw_landmark(options, i, options.length);
      case Variant::longlora:
        return longlora_passkey(static_cast<std::uint32_t>(i),
                                options.length * 15 / 4 / 1024 * 1024);
      case Variant::yarn:
        break;
    }
    // The most steps of 128 characters whose prompt stays below the length.
    constexpr std::int64_t kStep = 128;
    const auto too_long = [&](std::int64_t steps) {
      return tokenizer.count(draw_landmark(options, i, steps * kStep).draft.text) >= options.length;
    };
    if (too_long(0))
      throw Error(info().name, "length {} is too short for any noise", options.length);
    std::int64_t fits = 0;
    std::int64_t over = 1;
    while (!too_long(over)) {
      fits = over;
      over *= 2;
    }
    while (over - fits > 1) {
      const std::int64_t middle = (fits + over) / 2;
      (too_long(middle) ? over : fits) = middle;
    }
    return draw_landmark(options, i, fits * kStep);
  }

  /// Each length begins with the run's seed anew.
  static PasskeyPrompt draw_landmark(const TaskOptions& options, std::int64_t i, std::int64_t n) {
    PythonRandom random(options.seed);
    for (std::int64_t sample = 0; sample < i; ++sample) {
      random.randint(0, n);
      random.randint(1, 50000);
    }
    return landmark_passkey(random, n);
  }

  Variant variant_;
};

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Entry& entry : kEntries) all.emplace_back(entry.name);
  return all;
}

std::unique_ptr<Task> make(std::string_view name) {
  for (const Entry& entry : kEntries) {
    if (name == entry.name) return std::make_unique<OriginalPasskey>(entry);
  }
  return nullptr;
}

}  // namespace

PasskeyPrompt landmark_passkey(PythonRandom& random, std::int64_t n) {
  const std::int64_t before = random.randint(0, n);
  return build(n, before, std::to_string(random.randint(1, 50000)));
}

PasskeyPrompt longlora_passkey(std::uint32_t test, std::int64_t n) {
  NumpyRandom random(test);
  const std::int64_t before = random.randint(0, n);
  return build(n, before, std::to_string(random.randint(1, 50000)));
}

TaskFamily passkey_family() {
  return {names, make};
}

}  // namespace sala
