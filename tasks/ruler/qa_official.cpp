// Questions among documents as upstream draws them.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "tasks/chat_template.h"
#include "tasks/ruler/generators.h"

namespace sala {
namespace {

constexpr std::int64_t kStep = 10;
constexpr std::string_view kContext = "{context}";

class QaGenerator : public SteppedGenerator {
 public:
  QaGenerator(OfficialCell cell, const QuestionSet& questions)
      : SteppedGenerator(std::move(cell), kStep), set_(questions) {
    const std::string& frame = this->cell().frame;
    const std::size_t at = frame.find(kContext);
    head_ = frame.substr(0, at);
    tail_ = frame.substr(at + kContext.size());
  }

 protected:
  std::optional<OfficialDraft> attempt(std::int64_t i, std::int64_t n,
                                       OfficialRandom& random) const override {
    if (i >= static_cast<std::int64_t>(set_.questions.size())) {
      throw Error(cell().task, "sample {} does not exist; the data has {} questions", i,
                  set_.questions.size());
    }
    const Question& question = set_.questions[static_cast<std::size_t>(i)];
    std::vector<std::size_t> documents;
    if (!choose(question, n, random.python, documents)) return std::nullopt;
    PythonRandom(cell().seed).shuffle(documents);

    OfficialDraft made;
    made.references = question.answers;
    made.cluster = question.cluster;
    std::string& text = made.draft.text;
    text = fill(head_, {{"query", question.text}});
    for (std::size_t d = 0; d < documents.size(); ++d) {
      if (d > 0) text += "\n\n";
      const std::size_t begin = text.size();
      text += fmt::format("Document {}:\n{}", d + 1, set_.documents[documents[d]]);
      if (std::find(question.gold.begin(), question.gold.end(), documents[d]) !=
          question.gold.end()) {
        made.draft.needles.push_back({begin, text.size()});
      }
    }
    text += fill(tail_, {{"query", question.text}});
    return made;
  }

 private:
  /// The documents of a prompt before they are shuffled; false when upstream's draw is impossible.
  bool choose(const Question& question, std::int64_t n, PythonRandom& random,
              std::vector<std::size_t>& chosen) const {
    const auto n_all = static_cast<std::int64_t>(set_.documents.size());
    if (n >= n_all) {
      for (std::int64_t d = 0; d < n; ++d) chosen.push_back(static_cast<std::size_t>(d % n_all));
      return true;
    }
    const auto& [gold, more] = std::tie(question.gold, question.more);
    chosen = gold;
    const std::int64_t missing = n - static_cast<std::int64_t>(gold.size());
    if (missing <= static_cast<std::int64_t>(more.size())) {
      if (missing < 0) return false;
      for (const std::size_t m : random.sample(more.size(), static_cast<std::size_t>(missing))) {
        chosen.push_back(more[m]);
      }
      return true;
    }
    chosen.insert(chosen.end(), more.begin(), more.end());
    std::vector<std::size_t> taken = chosen;
    std::sort(taken.begin(), taken.end());
    std::vector<std::size_t> others;
    for (std::size_t d = 0; d < set_.documents.size(); ++d) {
      if (!std::binary_search(taken.begin(), taken.end(), d)) others.push_back(d);
    }
    const auto n_others = static_cast<std::size_t>(missing) - more.size();
    if (n_others > others.size()) return false;
    for (const std::size_t o : random.sample(others.size(), n_others)) chosen.push_back(others[o]);
    return true;
  }

  const QuestionSet& set_;
  std::string head_;
  std::string tail_;
};

}  // namespace

std::unique_ptr<OfficialGenerator> make_official_qa(OfficialCell cell,
                                                    const QuestionSet& questions) {
  return std::make_unique<QaGenerator>(std::move(cell), questions);
}

}  // namespace sala
