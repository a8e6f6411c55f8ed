// LongBench 1 and 2: the published prompts, cut in the middle where they are too long.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <iterator>

#include "engine/base/error.h"
#include "engine/base/utf8.h"
#include "tasks/chat_template.h"
#include "tasks/suites/suite_task.h"
#include "tasks/suites/suites.h"

namespace sala {
namespace {

struct Dataset {
  std::string_view name;
  const char* scorer;
  bool chat;     // in a turn of a chat, for models that have one
  bool classes;  // the references end with all classes
};

// Sorted by name.
constexpr Dataset kDatasets[] = {
    {"2wikimqa", "longbench_f1", true, false},
    {"gov_report", "longbench_rouge", true, false},
    {"hotpotqa", "longbench_f1", true, false},
    {"lcc", "longbench_code", false, false},
    {"lsht", "longbench_class", false, true},
    {"multi_news", "longbench_rouge", true, false},
    {"multifieldqa_en", "longbench_f1", true, false},
    {"musique", "longbench_f1", true, false},
    {"narrativeqa", "longbench_f1", true, false},
    {"passage_count", "longbench_count", true, false},
    {"passage_retrieval_en", "longbench_retrieval", true, false},
    {"passage_retrieval_zh", "longbench_retrieval", true, false},
    {"qasper", "longbench_f1", true, false},
    {"qmsum", "longbench_rouge", true, false},
    {"repobench-p", "longbench_code", false, false},
    {"samsum", "longbench_rouge_line", false, false},
    {"trec", "longbench_class", false, true},
    {"triviaqa", "longbench_f1_line", false, false},
};

class LongBench final : public SuiteTask {
 public:
  explicit LongBench(const Dataset& dataset)
      : SuiteTask({.name = fmt::format("longbench_{}", dataset.name),
                   .summary = fmt::format("LongBench {}, official rows", dataset.name),
                   .source = "THUDM/LongBench, commit 2e00731",
                   .scorer = dataset.scorer,
                   .needs_data = fmt::format("Hugging Face THUDM/LongBench (longbench/{}.jsonl)",
                                             dataset.name)}),
        dataset_(dataset) {
    const nlohmann::json templates = read_templates("longbench");
    template_ = templates["v1_prompts"][std::string(dataset.name)];
    max_new_tokens_ = templates["v1_max_new_tokens"][std::string(dataset.name)];
  }

  std::int64_t count(const TaskOptions& options, const Tokenizer& /*tokenizer*/) const override {
    return rows(options, files(options)[0]).size();
  }

  Sample make(const TaskOptions& options, std::int64_t i,
              const Tokenizer& tokenizer) const override {
    const JsonLines& lines = rows(options, files(options)[0]);
    check_index(i, lines.size());
    const JsonRow row = lines[i];
    const std::string context = row.text("context");
    const std::string input = row.text("input");
    Sample sample;
    sample.index = i;
    sample.max_new_tokens = max_new_tokens_;
    sample.references = row.texts("answers");
    if (dataset_.classes) {
      if (sample.references.size() != 1)
        throw Error(row.where, "has no single class as its answer");
      const std::vector<std::string> classes = row.texts("all_classes");
      sample.references.insert(sample.references.end(), classes.begin(), classes.end());
    }
    sample.answer_prefix = answer_prefix_of(template_);
    sample.cluster = row_cluster(info().name, 0, i);
    TaskOptions turn = options;
    if (!dataset_.chat) turn.chat_template = "base";
    return complete(turn, tokenizer,
                    {fill(template_, {{"context", context}, {"input", input}}), {}},
                    std::move(sample), TooLong::cut_middle);
  }

 protected:
  std::vector<std::string> files(const TaskOptions& /*options*/) const override {
    return {fmt::format("longbench/{}.jsonl", dataset_.name)};
  }

 private:
  Dataset dataset_;
  std::string template_;
  std::int64_t max_new_tokens_ = 0;
};

/// Replaces the placeholders in one pass, or, as the published code does, one after the other, so
/// that a document that holds a later one is changed by it.
std::string substitute(std::string text, const std::array<Slot, 6>& slots, bool one_after_other) {
  if (one_after_other) {
    for (const Slot& slot : slots) {
      for (std::size_t at = text.find(slot.name); at != std::string::npos;
           at = text.find(slot.name, at + slot.value.size())) {
        text.replace(at, slot.name.size(), slot.value);
      }
    }
    return text;
  }
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view rest = std::string_view(text).substr(at);
    const auto* found = std::find_if(slots.begin(), slots.end(),
                                     [&](const Slot& s) { return rest.starts_with(s.name); });
    out += found == slots.end() ? rest.substr(0, 1) : found->value;
    at += found == slots.end() ? 1 : found->name.size();
  }
  return out;
}

class LongBench2 final : public SuiteTask {
 public:
  LongBench2(const char* name, const char* prompt)
      : SuiteTask({.name = name,
                   .summary = fmt::format("LongBench v2, {} prompt, official rows", prompt),
                   .source = "THUDM/LongBench, commit 2e00731; greedy",
                   .scorer = "longbench2",
                   .needs_data = "Hugging Face THUDM/LongBench-v2 (longbench2/data.json)"}),
        template_(read_templates("longbench")["v2_prompts"][prompt]) {}

  std::int64_t count(const TaskOptions& options, const Tokenizer& /*tokenizer*/) const override {
    return rows(options, kFile).size();
  }

  Sample make(const TaskOptions& options, std::int64_t i,
              const Tokenizer& tokenizer) const override {
    const JsonLines& lines = rows(options, kFile);
    check_index(i, lines.size());
    const JsonRow row = lines[i];
    constexpr std::array kFields{"context",  "question", "choice_A",
                                 "choice_B", "choice_C", "choice_D"};
    constexpr std::array kSlots{"$DOC$", "$Q$", "$C_A$", "$C_B$", "$C_C$", "$C_D$"};
    std::array<std::string, 6> texts;
    std::array<Slot, 6> slots;
    for (std::size_t f = 0; f < kFields.size(); ++f) {
      texts[f] = strip(row.text(kFields[f]));
      slots[f] = {kSlots[f], texts[f]};
    }
    Sample sample;
    sample.index = i;
    sample.max_new_tokens = 128;
    sample.references = {row.text("answer")};
    sample.cluster = row_cluster("longbench2", 0, i);
    return complete(options, tokenizer,
                    {substitute(template_, slots, options.mode == "official"), {}},
                    std::move(sample), TooLong::cut_middle);
  }

 protected:
  std::vector<std::string> files(const TaskOptions& /*options*/) const override { return {kFile}; }

 private:
  static constexpr const char* kFile = "longbench2/data.json";
  std::string template_;
};

std::vector<std::string> names() {
  std::vector<std::string> all{"longbench2", "longbench2_no_context"};
  for (const Dataset& dataset : kDatasets) all.push_back(fmt::format("longbench_{}", dataset.name));
  return all;
}

std::unique_ptr<Task> make(std::string_view name) {
  if (name == "longbench2") return std::make_unique<LongBench2>("longbench2", "0shot");
  if (name == "longbench2_no_context") {
    return std::make_unique<LongBench2>("longbench2_no_context", "0shot_no_context");
  }
  for (const Dataset& dataset : kDatasets) {
    if (name == fmt::format("longbench_{}", dataset.name)) {
      return std::make_unique<LongBench>(dataset);
    }
  }
  return nullptr;
}

}  // namespace

TaskFamily longbench_family() {
  return {names, make};
}

}  // namespace sala
