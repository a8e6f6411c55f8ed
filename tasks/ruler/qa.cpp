// Question answering: the paragraphs that answer a question among others.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "tasks/chat_template.h"
#include "tasks/data_files.h"
#include "tasks/load_once.h"
#include "tasks/ruler/generators.h"
#include "tasks/ruler/ruler_task.h"
#include "tasks/ruler/tasks.h"

namespace sala {
namespace {

constexpr std::int64_t kTokensToGenerate = 32;

struct QaSpec {
  const char* name;
  const char* summary;
  const char* file;
  QuestionSet (*read)(const std::vector<std::string>& data);
  int hops;  // of the made-up questions
};

/// Documents of one sample in the order in which a longer prompt takes them in.
std::vector<std::size_t> draw_documents(const QuestionSet& set, const Question& question,
                                        PythonRandom& random) {
  std::vector<std::size_t> documents = question.gold;
  std::vector<std::size_t> more = question.more;
  random.shuffle(more);
  documents.insert(documents.end(), more.begin(), more.end());
  std::vector<bool> taken(set.documents.size());
  for (const std::size_t document : documents) taken[document] = true;
  std::vector<std::size_t> others;
  for (std::size_t d = 0; d < set.documents.size(); ++d) {
    if (!taken[d]) others.push_back(d);
  }
  random.shuffle(others);
  documents.insert(documents.end(), others.begin(), others.end());
  return documents;
}

class Qa : public RulerTask {
 public:
  explicit Qa(const QaSpec& spec)
      : RulerTask({spec.name, 1, spec.summary, kRulerSource, "ruler_part"}, kTokensToGenerate,
                  kQaStrings),
        spec_(spec) {}

  std::vector<TaskSource> sources(const TaskOptions& options) const override {
    if (options.mode == "strict" && are_made_up(options)) return {built_in_source("questions")};
    return {data_source(options.data, spec_.file)};
  }

  std::int64_t count(const TaskOptions& options, const Tokenizer& /*tokenizer*/) const override {
    return static_cast<std::int64_t>(questions(options).questions.size());
  }

 protected:
  Attempt try_make(const TaskOptions& options, std::int64_t i,
                   const Tokenizer& tokenizer) const override;

  std::unique_ptr<OfficialGenerator> official(OfficialCell cell,
                                              const TaskOptions& options) const override {
    return make_official_qa(std::move(cell),
                            sets_.get(options.data, [&] { return spec_.read(options.data); }));
  }

 private:
  bool are_made_up(const TaskOptions& options) const {
    return options.data.empty() ||
           (has_ruler_files(options.data) && !find_data_file(options.data, spec_.file));
  }

  const QuestionSet& questions(const TaskOptions& options) const {
    if (!are_made_up(options)) {
      return sets_.get(options.data, [&] { return spec_.read(options.data); });
    }
    return made_up_.get({}, [&] { return made_up_questions(texts().prose(), spec_.hops); });
  }

  QaSpec spec_;
  LoadOnce<QuestionSet> sets_;  // by data folders
  LoadOnce<QuestionSet> made_up_;
};

SampledTask::Attempt Qa::try_make(const TaskOptions& options, std::int64_t i,
                                  const Tokenizer& tokenizer) const {
  const QuestionSet& set = questions(options);
  if (i >= static_cast<std::int64_t>(set.questions.size())) {
    throw Error(info().name, "sample {} does not exist; there are {} questions", i,
                set.questions.size());
  }
  const Question& question = set.questions[static_cast<std::size_t>(i)];
  PythonRandom random = random_for(options, i);
  const std::vector<std::size_t> documents = draw_documents(set, question, random);
  const std::uint64_t seed = random.getrandbits(64);
  const std::size_t n_gold = question.gold.size();

  Sample sample;
  sample.references = question.answers;
  sample.cluster = question.cluster;
  sample.answer_prefix = kQaStrings.answer_prefix;
  constexpr std::string_view kContext = "{context}";
  const std::size_t cut = kQaStrings.task.find(kContext);
  const std::string head(kQaStrings.task.substr(0, cut));
  const std::string tail =
      fill(kQaStrings.task.substr(cut + kContext.size()), {{"query", question.text}});

  // When every document is there, the ones that answer nothing come again.
  const auto nth = [&](std::size_t n) {
    if (n < documents.size()) return documents[n];
    return documents[n_gold + (n - documents.size()) % (documents.size() - n_gold)];
  };
  const auto build = [&](std::int64_t n) {
    std::vector<std::size_t> order(static_cast<std::size_t>(n));
    for (std::size_t d = 0; d < order.size(); ++d) order[d] = d;
    PythonRandom(seed).shuffle(order);
    Draft draft{head, std::vector<ByteSpan>(n_gold)};
    for (std::size_t d = 0; d < order.size(); ++d) {
      if (d > 0) draft.text += "\n\n";
      const std::size_t begin = draft.text.size();
      draft.text += fmt::format("Document {}:\n{}", d + 1, set.documents[nth(order[d])]);
      if (order[d] < n_gold) draft.needles[order[d]] = {begin, draft.text.size()};
    }
    draft.text += tail + sample.answer_prefix;
    return draft;
  };
  const auto next_document = [&, n = std::size_t{0}]() mutable {
    ++n;
    return fmt::format("Document {}:\n{}", n, set.documents[nth(n - 1)]);
  };
  Units sizes(Haystack{"\n\n", next_document}, tokenizer);
  Fit fitted = fit_text(options, tokenizer, sample.answer_prefix, static_cast<std::int64_t>(n_gold),
                        sizes, build);
  return finish(options, tokenizer, std::move(fitted), std::move(sample));
}

}  // namespace

std::unique_ptr<Task> make_qa_squad(const char* name, const char* summary) {
  return std::make_unique<Qa>(QaSpec{name, summary, "squad.json", read_squad, 1});
}

std::unique_ptr<Task> make_qa_hotpotqa(const char* name, const char* summary) {
  return std::make_unique<Qa>(QaSpec{name, summary, "hotpotqa.json", read_hotpotqa, 2});
}

}  // namespace sala
