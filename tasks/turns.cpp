// Builds the conversation; every turn is a unit of filler, equal requests lie among them.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/turns.h"

#include <algorithm>
#include <array>

#include "engine/base/error.h"
#include "tasks/sampled_task.h"

namespace sala {
namespace {

constexpr std::int64_t kTokensToGenerate = 256;
constexpr int kSentences = 3;  // of an answer
constexpr std::string_view kAnswerPrefix = "\n\nAssistant:\n";
constexpr std::array<std::string_view, 6> kKinds{"note",  "poem",   "letter",
                                                 "story", "report", "diary entry"};
constexpr std::array<std::string_view, 8> kOrdinals{"first", "second", "third",   "fourth",
                                                    "fifth", "sixth",  "seventh", "eighth"};

std::string turns_text(std::string_view request, std::string_view answer) {
  return fmt::format("User:\n{}\n\nAssistant:\n{}", request, answer);
}

class Turns final : public SampledTask {
 public:
  Turns(const char* name, const char* summary, std::size_t n_equal)
      : SampledTask({.name = name,
                     .summary = summary,
                     .source = "after MRCR, arXiv 2409.12640, with texts of its own",
                     .scorer = "mrcr"},
                    kTokensToGenerate),
        n_equal_(n_equal) {}

 protected:
  Attempt try_make(const TaskOptions& options, std::int64_t i,
                   const Tokenizer& tokenizer) const override {
    PythonRandom random = random_for(options, i);
    const Prose& prose = texts().prose();
    const std::vector<std::string>& topics = prose.words("plural");
    const std::string kind(kKinds[random.randbelow(kKinds.size())]);
    const std::string topic = random.choice(topics);
    const std::size_t asked = random.randbelow(n_equal_);
    std::string tag;
    for (int c = 0; c < 10; ++c) tag += static_cast<char>('a' + random.randbelow(26));
    std::vector<std::string> answers;
    std::vector<double> depths;
    answers.reserve(n_equal_);
    depths.reserve(n_equal_);
    for (std::size_t n = 0; n < n_equal_; ++n) {
      answers.push_back(answer(prose, random));
      depths.push_back(random.random());
    }
    std::sort(depths.begin(), depths.end());
    const std::uint64_t seed = random.getrandbits(64);

    const std::string request = fmt::format("Write a short {} about {}.", kind, topic);
    // Other requests: another kind or another topic, so that none is equal by chance.
    Units units({"\n\n",
                 [this, &prose, &topics, request, filler = PythonRandom(seed)]() mutable {
                   std::string other = request;
                   while (other == request) {
                     const std::string_view drawn = kKinds[filler.randbelow(kKinds.size())];
                     other =
                         fmt::format("Write a short {} about {}.", drawn, filler.choice(topics));
                   }
                   return turns_text(other, answer(prose, filler));
                 }},
                tokenizer);
    double depth_pct = 0;
    const auto build = [&](std::int64_t n) {
      units.tokens_of(n);  // draws the units
      Draft draft;
      std::int64_t next = 0;
      std::size_t at = 0;
      for (std::size_t e = 0; e < n_equal_; ++e) {
        const auto before = static_cast<std::int64_t>(depths[e] * static_cast<double>(n + 1));
        for (; next < before; ++next) draft.text += units[next] + units.separator();
        if (e == asked) at = draft.text.size();
        draft.text += turns_text(request, answers[e]) + units.separator();
      }
      for (; next < n; ++next) draft.text += units[next] + units.separator();
      draft.text += fmt::format(
          "User:\nRepeat the {} {} about {} word for word, with {} right in front of its first "
          "word. Write nothing else.{}",
          kOrdinals[asked], kind, topic, tag, kAnswerPrefix);
      depth_pct = 100.0 * static_cast<double>(at) / static_cast<double>(draft.text.size());
      return draft;
    };
    Fit fitted = fit_text(options, tokenizer, kAnswerPrefix, 1, units, build);
    build(fitted.n_units);
    Sample sample;
    sample.references = {tag + answers[asked], tag};
    sample.answer_prefix = kAnswerPrefix;
    sample.cluster = cluster_name(seed);
    sample.depth_pct = depth_pct;
    return finish(options, tokenizer, std::move(fitted), std::move(sample));
  }

 private:
  static std::string answer(const Prose& prose, PythonRandom& random) {
    std::string text = prose.sentence(random);
    for (int s = 1; s < kSentences; ++s) text.append(1, ' ').append(prose.sentence(random));
    return text;
  }

  std::size_t n_equal_;
};

}  // namespace

std::unique_ptr<Task> make_turns_2(const char* name, const char* summary) {
  return std::make_unique<Turns>(name, summary, 2);
}
std::unique_ptr<Task> make_turns_4(const char* name, const char* summary) {
  return std::make_unique<Turns>(name, summary, 4);
}
std::unique_ptr<Task> make_turns_8(const char* name, const char* summary) {
  return std::make_unique<Turns>(name, summary, 8);
}

}  // namespace sala
