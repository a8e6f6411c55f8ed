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
  bool chat;          // in a turn of a chat, for models that have one
  bool classes;       // the references end with all classes
  bool even = false;  // LongBench-E has a file of it, too
};

// Sorted by name.
constexpr Dataset kDatasets[] = {
    {"2wikimqa", "longbench_f1", true, false, true},
    {"gov_report", "longbench_rouge", true, false, true},
    {"hotpotqa", "longbench_f1", true, false, true},
    {"lcc", "longbench_code", false, false, true},
    {"lsht", "longbench_class", false, true},
    {"multi_news", "longbench_rouge", true, false, true},
    {"multifieldqa_en", "longbench_f1", true, false, true},
    {"musique", "longbench_f1", true, false},
    {"narrativeqa", "longbench_f1", true, false},
    {"passage_count", "longbench_count", true, false, true},
    {"passage_retrieval_en", "longbench_retrieval", true, false, true},
    {"passage_retrieval_zh", "longbench_retrieval", true, false},
    {"qasper", "longbench_f1", true, false, true},
    {"qmsum", "longbench_rouge", true, false},
    {"repobench-p", "longbench_code", false, false, true},
    {"samsum", "longbench_rouge_line", false, false, true},
    {"trec", "longbench_class", false, true, true},
    {"triviaqa", "longbench_f1_line", false, false, true},
};

/// LongBench-E's bands, by the number of words that a row gives as its length.
std::string length_band(const JsonRow& row) {
  const nlohmann::json& length = row.at("length");
  if (!length.is_number()) throw Error(row.where, "its field 'length' is no number");
  const auto words = length.get<double>();
  return words < 4000 ? "0-4k" : words < 8000 ? "4-8k" : "8k+";
}

class LongBench final : public RowTask {
 public:
  static constexpr std::string_view kPlain = "longbench_";
  static constexpr std::string_view kEven = "longbench_e_";

  LongBench(const Dataset& dataset, bool even)
      : RowTask({.name = fmt::format("{}{}", even ? kEven : kPlain, dataset.name),
                 .summary =
                     fmt::format("LongBench{} {}, official rows", even ? "-E" : "", dataset.name),
                 .source = "THUDM/LongBench, commit 2e00731",
                 .scorer = dataset.scorer,
                 .needs_data =
                     fmt::format("Hugging Face THUDM/LongBench ({})", file_of(dataset, even))}),
        dataset_(dataset),
        even_(even) {
    const nlohmann::json templates = read_templates("longbench");
    template_ = templates["v1_prompts"][std::string(dataset.name)];
    max_new_tokens_ = templates["v1_max_new_tokens"][std::string(dataset.name)];
  }

 protected:
  Sample from_row(const TaskOptions& options, const JsonRow& row, Sample sample,
                  const Tokenizer& tokenizer) const override {
    const std::string context = row.text("context");
    const std::string input = row.text("input");
    sample.max_new_tokens = max_new_tokens_;
    sample.references = row.texts("answers");
    if (dataset_.classes) {
      if (sample.references.size() != 1)
        throw Error(row.where, "has no single class as its answer");
      const std::vector<std::string> classes = row.texts("all_classes");
      sample.references.insert(sample.references.end(), classes.begin(), classes.end());
    }
    sample.answer_prefix = answer_prefix_of(template_);
    sample.cluster = row_cluster(info().name, 0, sample.index);
    if (even_) sample.groups = {length_band(row)};
    TaskOptions turn = options;
    if (!dataset_.chat) turn.chat_template = "base";
    return complete(turn, tokenizer,
                    {fill(template_, {{"context", context}, {"input", input}}), {}},
                    std::move(sample), TooLong::cut_middle);
  }

  std::string file(const TaskOptions& /*options*/) const override {
    return file_of(dataset_, even_);
  }

 private:
  static std::string file_of(const Dataset& dataset, bool even) {
    return fmt::format("longbench/{}{}.jsonl", dataset.name, even ? "_e" : "");
  }

  Dataset dataset_;
  bool even_;
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

class LongBench2 final : public RowTask {
 public:
  LongBench2(const char* name, const char* prompt)
      : RowTask({.name = name,
                 .summary = fmt::format("LongBench v2, {} prompt, official rows", prompt),
                 .source = "THUDM/LongBench, commit 2e00731; greedy",
                 .scorer = "longbench2",
                 .needs_data = "Hugging Face THUDM/LongBench-v2 (longbench2/data.json)"}),
        template_(read_templates("longbench")["v2_prompts"][prompt]) {}

 protected:
  Sample from_row(const TaskOptions& options, const JsonRow& row, Sample sample,
                  const Tokenizer& tokenizer) const override {
    constexpr std::array kFields{"context",  "question", "choice_A",
                                 "choice_B", "choice_C", "choice_D"};
    constexpr std::array kSlots{"$DOC$", "$Q$", "$C_A$", "$C_B$", "$C_C$", "$C_D$"};
    std::array<std::string, 6> texts;
    std::array<Slot, 6> slots;
    for (std::size_t f = 0; f < kFields.size(); ++f) {
      texts[f] = strip(row.text(kFields[f]));
      slots[f] = {kSlots[f], texts[f]};
    }
    sample.max_new_tokens = 128;
    sample.references = {row.text("answer")};
    sample.cluster = row_cluster("longbench2", 0, sample.index);
    sample.groups = {row.text("difficulty"), row.text("length")};
    return complete(options, tokenizer,
                    {substitute(template_, slots, options.mode == "official"), {}},
                    std::move(sample), TooLong::cut_middle);
  }

  std::string file(const TaskOptions& /*options*/) const override { return "longbench2/data.json"; }

 private:
  std::string template_;
};

std::vector<std::string> names() {
  std::vector<std::string> all{"longbench2", "longbench2_no_context"};
  for (const Dataset& dataset : kDatasets) {
    all.push_back(fmt::format("{}{}", LongBench::kPlain, dataset.name));
    if (dataset.even) all.push_back(fmt::format("{}{}", LongBench::kEven, dataset.name));
  }
  return all;
}

std::unique_ptr<Task> make(std::string_view name) {
  if (name == "longbench2") return std::make_unique<LongBench2>("longbench2", "0shot");
  if (name == "longbench2_no_context") {
    return std::make_unique<LongBench2>("longbench2_no_context", "0shot_no_context");
  }
  for (const Dataset& dataset : kDatasets) {
    if (name == fmt::format("{}{}", LongBench::kPlain, dataset.name)) {
      return std::make_unique<LongBench>(dataset, false);
    }
    if (dataset.even && name == fmt::format("{}{}", LongBench::kEven, dataset.name)) {
      return std::make_unique<LongBench>(dataset, true);
    }
  }
  return nullptr;
}

}  // namespace

TaskFamily longbench_family() {
  return {names, make};
}

}  // namespace sala
