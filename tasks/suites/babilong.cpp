// BABILong: facts of the bAbI tasks scattered in books, as published row by row.
// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/utf8.h"
#include "tasks/chat_template.h"
#include "tasks/suites/suite_task.h"
#include "tasks/suites/suites.h"

namespace sala {
namespace {

constexpr int kTasks = 20;
constexpr std::int64_t kTokensToGenerate = 20;

constexpr std::array<std::pair<std::int64_t, std::string_view>, 13> kLengths{{{0, "0k"},
                                                                              {1 << 10, "1k"},
                                                                              {2 << 10, "2k"},
                                                                              {4 << 10, "4k"},
                                                                              {8 << 10, "8k"},
                                                                              {16 << 10, "16k"},
                                                                              {32 << 10, "32k"},
                                                                              {64 << 10, "64k"},
                                                                              {128 << 10, "128k"},
                                                                              {256 << 10, "256k"},
                                                                              {512 << 10, "512k"},
                                                                              {1 << 20, "1M"},
                                                                              {10 << 20, "10M"}}};

class Babilong final : public RowTask {
 public:
  explicit Babilong(const std::string& qa)
      : RowTask({.name = "babilong_" + qa,
                 .summary = "BABILong " + qa + ", official rows",
                 .source = "booydar/babilong, commit 7a6efee",
                 .scorer = "babilong",
                 .nominal_length = true,
                 .needs_data = "Hugging Face RMT-team/babilong (babilong/<length>/" + qa +
                               ".jsonl with input, question and target in each row)"}),
        qa_(qa) {
    const nlohmann::json templates = read_templates("babilong");
    template_ = templates["template"];
    prompt_ = templates["prompts"][qa];
    labels_ = templates["labels"][qa].get<std::vector<std::string>>();
  }

 protected:
  Sample from_row(const TaskOptions& options, const JsonRow& row, Sample sample,
                  const Tokenizer& tokenizer) const override {
    const std::string context = row.text("input");
    const std::string question = row.text("question");
    sample.max_new_tokens = kTokensToGenerate;
    sample.references = {row.text("target"), question};
    sample.references.insert(sample.references.end(), labels_.begin(), labels_.end());
    sample.cluster = row_cluster(info().name, options.length, sample.index);
    const std::string text = fill(template_, {{"instruction", part("instruction")},
                                              {"examples", part("examples")},
                                              {"post_prompt", part("post_prompt")},
                                              {"context", strip(context)},
                                              {"question", question}});
    return complete(options, tokenizer, {std::string(strip(text)), {}}, std::move(sample),
                    TooLong::allow);
  }

  std::string file(const TaskOptions& options) const override {
    for (const auto& [length, name] : kLengths) {
      if (length == options.length || (length == 0 && options.length < 1024)) {
        return fmt::format("babilong/{}/{}.jsonl", name, qa_);
      }
    }
    throw Error(info().name,
                "there are no rows of length {}; the lengths are below 1k (no filler), 1k, 2k, 4k, "
                "... 512k, 1M and 10M",
                options.length);
  }

 private:
  std::string_view part(const char* name) const {
    return prompt_[name].get_ref<const std::string&>();
  }

  std::string qa_;
  std::string template_;
  nlohmann::json prompt_;
  std::vector<std::string> labels_;
};

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (int i = 1; i <= kTasks; ++i) all.push_back(fmt::format("babilong_qa{}", i));
  return all;
}

std::unique_ptr<Task> make(std::string_view name) {
  for (int i = 1; i <= kTasks; ++i) {
    const std::string qa = fmt::format("qa{}", i);
    if (name == "babilong_" + qa) return std::make_unique<Babilong>(qa);
  }
  return nullptr;
}

}  // namespace

TaskFamily babilong_family() {
  return {names, make};
}

}  // namespace sala
