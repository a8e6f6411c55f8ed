// Frequent words as upstream sizes them: by steps of 1/32 of the limit.
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/error.h"
#include "tasks/chat_template.h"
#include "tasks/ruler/fwe.h"
#include "tasks/ruler/generators.h"

namespace sala {
namespace {

class FweGenerator : public OfficialGenerator {
 public:
  explicit FweGenerator(OfficialCell cell)
      : OfficialGenerator(std::move(cell)),
        limit_(this->cell().length - kFweTokensToGenerate),
        step_(limit_ / 32) {
    constexpr std::int64_t kSmallest = 4 * 50;  // a vocabulary that has three answers
    if (limit_ < kSmallest) {
      throw Error(this->cell().task,
                  "length {} is too short for the official generator; the smallest length that "
                  "works is {}",
                  this->cell().length, kSmallest + kFweTokensToGenerate);
    }
  }

  std::int64_t find_size(const Tokenizer& tokenizer, OfficialRandom& random) override {
    const auto vocabulary = draw(random);
    std::int64_t m = limit_ / 6;
    while (tokenizer.count(text(vocabulary, m)) < limit_) m += step_;
    return m - step_;
  }

  OfficialDraft sample(std::int64_t i, std::int64_t size, const Tokenizer& tokenizer,
                       OfficialRandom& random) const override {
    const auto vocabulary = draw(random);
    OfficialDraft made;
    for (std::int64_t m = size;; m -= step_) {
      if (m <= 0) {
        throw Error(cell().task, "length {} is too short: not even an empty sample {} fits",
                    cell().length, i);
      }
      made.draft.text = text(vocabulary, m);
      if (tokenizer.count(made.draft.text) <= limit_) break;
    }
    made.references.assign(vocabulary.begin() + 1, vocabulary.begin() + 4);
    return made;
  }

 private:
  std::vector<std::string> draw(OfficialRandom& random) const {
    return coded_vocabulary(limit_ / 50, random.python, cell().seed);
  }
  std::string text(const std::vector<std::string>& vocabulary, std::int64_t m) const {
    return fill(cell().frame, {{"context", coded_text(vocabulary, m, cell().seed)}, {"query", ""}});
  }

  std::int64_t limit_;
  std::int64_t step_;
};

}  // namespace

std::unique_ptr<OfficialGenerator> make_official_fwe(OfficialCell cell) {
  return std::make_unique<FweGenerator>(std::move(cell));
}

}  // namespace sala
