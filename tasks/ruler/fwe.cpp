// Frequent words: a coded text in which three words stand out.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/ruler/fwe.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "tasks/chat_template.h"
#include "tasks/ruler/generators.h"
#include "tasks/ruler/ruler_task.h"
#include "tasks/ruler/tasks.h"

namespace sala {
namespace {

constexpr double kZeta2 = 1.6449340668482264;
// From here on ranks 4 and 5 never come equally often.
constexpr std::int64_t kSmallest = 53;
constexpr std::int64_t kSmallestVocabulary = 5;

/// Words of the text at the mean number of tokens of the most frequent ones.
class WordCount : public SizeModel {
 public:
  WordCount(const std::string& text, std::int64_t m, const Tokenizer& tokenizer)
      : tokens_per_unit_(static_cast<double>(tokenizer.count(text)) / static_cast<double>(m)) {}
  double tokens_of(std::int64_t n) override { return static_cast<double>(n) * tokens_per_unit_; }
  std::int64_t units_within(double tokens) override {
    return tokens < 0 ? 0 : static_cast<std::int64_t>(tokens / tokens_per_unit_);
  }

 private:
  double tokens_per_unit_;
};

class Fwe : public RulerTask {
 public:
  Fwe(const char* name, const char* summary)
      : RulerTask({name, 1, summary, kRulerSource, "ruler_all"}, kFweTokensToGenerate,
                  kFweStrings) {}

 protected:
  Attempt try_make(const TaskOptions& options, std::int64_t i,
                   const Tokenizer& tokenizer) const override {
    PythonRandom random = random_for(options, i);
    const std::int64_t n = std::max(text_tokens(options, tokenizer) / 50, kSmallestVocabulary);
    const std::vector<std::string> vocabulary = coded_vocabulary(n, random, random.getrandbits(64));
    const std::uint64_t seed = random.getrandbits(64);

    Sample sample;
    sample.references.assign(vocabulary.begin() + 1, vocabulary.begin() + 4);
    sample.cluster = cluster_name(seed);
    sample.answer_prefix = kFweStrings.answer_prefix;
    const auto build = [&](std::int64_t m) {
      return Draft{fill(kFweStrings.task, {{"context", coded_text(vocabulary, m, seed)}}) +
                       sample.answer_prefix,
                   {}};
    };
    constexpr std::int64_t kMeasured = 1000;
    WordCount sizes(coded_text(vocabulary, kMeasured, seed), kMeasured, tokenizer);
    Fit fitted = fit_text(options, tokenizer, sample.answer_prefix, kSmallest, sizes, build);
    return finish(options, tokenizer, std::move(fitted), std::move(sample));
  }

  std::unique_ptr<OfficialGenerator> official(OfficialCell cell,
                                              const TaskOptions& /*options*/) const override {
    return make_official_fwe(std::move(cell));
  }
};

}  // namespace

std::vector<std::string> coded_vocabulary(std::int64_t n, PythonRandom& random,
                                          std::uint64_t shuffle_seed) {
  std::set<std::string> words;
  while (words.size() < static_cast<std::size_t>(n)) {
    std::string word(6, 'a');
    for (char& c : word) c = static_cast<char>('a' + static_cast<int>(random.random() * 26));
    words.insert(word);
  }
  std::vector<std::string> vocabulary(words.begin(), words.end());
  PythonRandom(shuffle_seed).shuffle(vocabulary);
  vocabulary[0] = "...";
  return vocabulary;
}

std::string coded_text(const std::vector<std::string>& vocabulary, std::int64_t m,
                       std::uint64_t shuffle_seed) {
  std::vector<std::uint32_t> ranks;
  for (std::size_t r = 0; r < vocabulary.size(); ++r) {
    const double share = std::pow(static_cast<double>(r + 1), -2.0);
    const auto count = static_cast<std::size_t>(static_cast<double>(m) * share / kZeta2);
    ranks.insert(ranks.end(), count, static_cast<std::uint32_t>(r));
  }
  PythonRandom(shuffle_seed).shuffle(ranks);
  std::string text;
  for (const std::uint32_t r : ranks) {
    if (!text.empty()) text += ' ';
    text += vocabulary[r];
  }
  return text;
}

std::unique_ptr<Task> make_fwe(const char* name, const char* summary) {
  return std::make_unique<Fwe>(name, summary);
}

}  // namespace sala
