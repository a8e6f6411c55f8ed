// Common words as upstream draws them.
// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "tasks/chat_template.h"
#include "tasks/ruler/cwe.h"
#include "tasks/ruler/generators.h"

namespace sala {
namespace {

constexpr std::int64_t kStep = 10;

/// Python's a // b of positive doubles.
double floor_division(double a, double b) {
  const double quotient = (a - std::fmod(a, b)) / b;
  const double whole = std::floor(quotient);
  return quotient - whole > 0.5 ? whole + 1 : whole;
}

class CweGenerator : public SteppedGenerator {
 public:
  CweGenerator(OfficialCell cell, const std::vector<std::string>& words, WordSource more_words)
      : SteppedGenerator(std::move(cell), kStep),
        words_(words),
        more_words_(std::move(more_words)),
        plan_(cwe_plan(this->cell().length)) {
    // Upstream shuffles the words once for good.
    PythonRandom(this->cell().seed).shuffle(words_);
  }

 protected:
  std::int64_t search_limit(const Tokenizer& tokenizer, OfficialRandom& random) const override {
    constexpr std::int64_t kProbe = 4096;
    const double tokens_per_word =
        static_cast<double>(probe_tokens(kProbe, tokenizer, random)) / kProbe;
    const auto limit = static_cast<double>(cell().length);
    return static_cast<std::int64_t>(floor_division(limit, tokens_per_word)) * 2;
  }

  std::optional<OfficialDraft> attempt(std::int64_t /*i*/, std::int64_t n,
                                       OfficialRandom& random) const override {
    const auto example = draw(plan_.example_words, random.python);
    const auto words = draw(static_cast<std::size_t>(n), random.python);
    if (!example || !words) return std::nullopt;
    OfficialDraft made;
    const auto framed = [&](const std::string& list) {
      return fill(cell().frame, {{"context", list}, {"query", ""}});
    };
    made.draft.text = framed(numbered_list(*example, plan_.example, cell().seed)) + " " +
                      numbered_common(*example) + "\n" +
                      framed(numbered_list(*words, plan_.list, cell().seed));
    made.references.assign(words->begin(), words->begin() + kCommonWords);
    return made;
  }

 private:
  std::optional<std::vector<std::string>> draw(std::size_t n, PythonRandom& random) const {
    const std::vector<std::string>& source = n <= words_.size() ? words_ : more_words_();
    if (n > source.size()) return std::nullopt;
    std::vector<std::string> drawn;
    drawn.reserve(n);
    for (const std::size_t word : random.sample(source.size(), n)) drawn.push_back(source[word]);
    return drawn;
  }

  std::vector<std::string> words_;
  WordSource more_words_;
  CwePlan plan_;
};

}  // namespace

std::unique_ptr<OfficialGenerator> make_official_cwe(OfficialCell cell,
                                                     const std::vector<std::string>& words,
                                                     WordSource more_words) {
  return std::make_unique<CweGenerator>(std::move(cell), words, std::move(more_words));
}

}  // namespace sala
