// Common words: a numbered list in which ten words come more often than the others.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/ruler/cwe.h"

#include <algorithm>
#include <iterator>

#include "engine/base/error.h"
#include "tasks/chat_template.h"
#include "tasks/ruler/cwe_words.h"
#include "tasks/ruler/generators.h"
#include "tasks/ruler/ruler_task.h"
#include "tasks/ruler/tasks.h"

namespace sala {
namespace {

constexpr std::int64_t kTokensToGenerate = 120;

/// Words of a list, predicted by the tokens of each with its number.
class ListSizes : public SizeModel {
 public:
  ListSizes(const std::vector<std::string>& words, Repeats repeats, const Tokenizer& tokenizer) {
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < words.size(); ++i) {
      const std::int64_t times = i < kCommonWords ? repeats.common : repeats.other;
      sum += times * tokenizer.count(fmt::format(" {}. {}", sums_.size() * 3, words[i]));
      sums_.push_back(sum);
    }
  }
  double tokens_of(std::int64_t n) override {
    return static_cast<double>(sums_[std::min(static_cast<std::size_t>(n), sums_.size()) - 1]);
  }
  std::int64_t units_within(double tokens) override {
    const auto past = std::upper_bound(
        sums_.begin(), sums_.end(), tokens,
        [](double limit, std::int64_t sum) { return limit < static_cast<double>(sum); });
    return past - sums_.begin();
  }

 private:
  std::vector<std::int64_t> sums_;  // tokens of the first words
};

class Cwe : public RulerTask {
 public:
  Cwe(const char* name, const char* summary)
      : RulerTask({name, 1, summary, kRulerSource, "ruler_all"}, kTokensToGenerate, kCweStrings) {}

  std::vector<TaskSource> sources(const TaskOptions& options) const override {
    return supply_.sources(options);
  }

 protected:
  Attempt try_make(const TaskOptions& options, std::int64_t i,
                   const Tokenizer& tokenizer) const override;

  std::unique_ptr<OfficialGenerator> official(OfficialCell cell,
                                              const TaskOptions& options) const override {
    return make_official_cwe(std::move(cell), supply_.words(options.data),
                             [this, data = options.data]() -> const std::vector<std::string>& {
                               return supply_.more_words(data);
                             });
  }

 private:
  CweSupply supply_;
};

SampledTask::Attempt Cwe::try_make(const TaskOptions& options, std::int64_t i,
                                   const Tokenizer& tokenizer) const {
  PythonRandom random = random_for(options, i);
  const CwePlan plan = cwe_plan(options.length);
  const CweWords words = supply_.draw(options, tokenizer, texts().prose(), random);
  const std::uint64_t example_seed = random.getrandbits(64);
  const std::uint64_t seed = random.getrandbits(64);

  Sample sample;
  sample.references.assign(words.list.begin(), words.list.begin() + kCommonWords);
  sample.cluster = cluster_name(seed);
  sample.answer_prefix = kCweStrings.answer_prefix;
  const auto framed = [&](const std::string& list) {
    return fill(kCweStrings.task, {{"context", list}}) + sample.answer_prefix;
  };
  const std::string example = framed(numbered_list(words.example, plan.example, example_seed)) +
                              " " + numbered_common(words.example) + "\n";
  const auto build = [&](std::int64_t n) {
    if (n > static_cast<std::int64_t>(words.list.size())) {
      throw Error(info().name, "length {} needs more than the {} words that there are",
                  options.length, words.list.size());
    }
    const std::vector<std::string> first(words.list.begin(), words.list.begin() + n);
    return Draft{example + framed(numbered_list(first, plan.list, seed)), {}};
  };
  ListSizes sizes(words.list, plan.list, tokenizer);
  Fit fitted = fit_text(options, tokenizer, sample.answer_prefix, kCommonWords + 1, sizes, build);
  return finish(options, tokenizer, std::move(fitted), std::move(sample));
}

}  // namespace

CwePlan cwe_plan(std::int64_t length) {
  if (length >= 4096) return {40, {10, 3}, {30, 3}};
  return {20, {3, 1}, {6, 1}};
}

std::string numbered_list(const std::vector<std::string>& words, Repeats repeats,
                          std::uint64_t seed) {
  std::vector<std::uint32_t> items;
  const auto add_block = [&](std::size_t begin, std::size_t end, std::int64_t times) {
    for (std::int64_t time = 0; time < times; ++time) {
      for (std::size_t i = begin; i < end; ++i) items.push_back(static_cast<std::uint32_t>(i));
    }
  };
  add_block(0, kCommonWords, repeats.common);
  add_block(kCommonWords, words.size(), repeats.other);
  PythonRandom(seed).shuffle(items);
  std::string text;
  for (std::size_t i = 0; i < items.size(); ++i) {
    fmt::format_to(std::back_inserter(text), "{}{}. {}", i > 0 ? " " : "", i + 1, words[items[i]]);
  }
  return text;
}

std::string numbered_common(const std::vector<std::string>& words) {
  std::string text;
  for (std::size_t i = 0; i < kCommonWords; ++i) {
    text += fmt::format("{}{}. {}", i > 0 ? " " : "", i + 1, words[i]);
  }
  return text;
}

std::unique_ptr<Task> make_cwe(const char* name, const char* summary) {
  return std::make_unique<Cwe>(name, summary);
}

}  // namespace sala
