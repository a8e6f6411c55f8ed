// InfiniteBench: twelve tasks around 100k tokens, with the prompts for base models or for GPT-4.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <iterator>
#include <regex>

#include "engine/base/error.h"
#include "engine/base/lower.h"
#include "tasks/chat_template.h"
#include "tasks/suites/suite_task.h"
#include "tasks/suites/suites.h"

namespace sala {
namespace {

enum class Label : std::uint8_t { first, all, option };

struct Entry {
  std::string_view name;
  const char* scorer;
  Label label = Label::first;
};

// Sorted by name.
constexpr Entry kEntries[] = {
    {"code_debug", "infinitebench_code_debug", Label::option},
    {"code_run", "infinitebench_code_run"},
    {"kv_retrieval", "infinitebench_kv"},
    {"longbook_choice_eng", "infinitebench_choice", Label::option},
    {"longbook_qa_chn", "infinitebench_qa_zh", Label::all},
    {"longbook_qa_eng", "infinitebench_qa", Label::all},
    {"longbook_sum_eng", "infinitebench_sum"},
    {"longdialogue_qa_eng", "infinitebench_dialogue"},
    {"math_calc", "infinitebench_math_calc", Label::all},
    {"math_find", "infinitebench_math_find"},
    {"number_string", "infinitebench_number"},
    {"passkey", "infinitebench_number"},
};

struct Family {
  std::string_view templates;
  std::string_view prefix;  // of the names
};
constexpr Family kFamilies[] = {{"gpt4", "infinitebench_gpt4_"},
                                {"yarn_mistral", "infinitebench_"}};

std::string first_match(const std::string& text, const std::regex& pattern,
                        const std::string& where) {
  std::smatch found;
  if (!std::regex_search(text, found, pattern)) {
    throw Error(where, "the field 'input' does not look like this task's");
  }
  return found.str();
}

class InfiniteBench final : public RowTask {
 public:
  InfiniteBench(const Entry& entry, const Family& family)
      : RowTask({.name = fmt::format("{}{}", family.prefix, entry.name),
                 .summary = fmt::format("InfiniteBench {}, {} prompt, official rows", entry.name,
                                        family.templates),
                 .source = "OpenBMB/InfiniteBench, commit 88b3daa",
                 .scorer = scorer_of(entry, family),
                 .needs_data = fmt::format("Hugging Face xinrongzhang2022/InfiniteBench "
                                           "(infinitebench/{}.jsonl)",
                                           entry.name)}),
        entry_(entry) {
    const nlohmann::json templates = read_templates("infinitebench");
    template_ = templates[std::string(family.templates)][std::string(entry.name)];
    max_new_tokens_ = templates["max_new_tokens"][std::string(entry.name)];
  }

 protected:
  Sample from_row(const TaskOptions& options, const JsonRow& row, Sample sample,
                  const Tokenizer& tokenizer) const override {
    sample.max_new_tokens = max_new_tokens_;
    sample.references = references(row);
    sample.answer_prefix = answer_prefix_of(template_);
    sample.cluster = row_cluster(entry_.name, 0, sample.index);
    return complete(options, tokenizer, {prompt(row), {}}, std::move(sample), TooLong::cut_middle);
  }

  std::string file(const TaskOptions& /*options*/) const override {
    return fmt::format("infinitebench/{}.jsonl", entry_.name);
  }

 private:
  static std::string scorer_of(const Entry& entry, const Family& family) {
    const bool drops_first = entry.name == "math_calc" && family.templates == "gpt4";
    return drops_first ? "infinitebench_math_calc_gpt4" : entry.scorer;
  }

  std::string prompt(const JsonRow& row) const {
    const std::string context = row.text("context");
    const std::string input = row.text("input");
    std::array<std::string, 4> options;
    if (entry_.label == Label::option) {
      const std::vector<std::string> given = row.texts("options");
      if (given.size() != 4) throw Error(row.where, "has {} options, expected 4", given.size());
      std::copy(given.begin(), given.end(), options.begin());
    }
    std::string call;
    std::string prefix;
    if (entry_.name == "code_run") {
      static const std::regex kCall(R"(func_[0-9]+\(\-?[0-9]+\))");
      call = first_match(input, kCall, row.where);
    }
    if (entry_.name == "math_find") {
      static const std::regex kWanted("The .+ of");
      std::string wanted = lower(first_match(input, kWanted, row.where));
      wanted.resize(wanted.size() - 3);
      prefix = fmt::format("What is {} in the following list?", wanted);
    }
    return fill(template_, {{"context", context},
                            {"input", input},
                            {"question", input},
                            {"prefix", prefix},
                            {"func", std::string_view(call).substr(0, call.find('('))},
                            {"func_call", call},
                            {"OPTION_A", options[0]},
                            {"OPTION_B", options[1]},
                            {"OPTION_C", options[2]},
                            {"OPTION_D", options[3]}});
  }

  std::vector<std::string> references(const JsonRow& row) const {
    std::vector<std::string> answers = row.texts("answer");
    if (answers.empty()) throw Error(row.where, "has no answer");
    switch (entry_.label) {
      case Label::all:
        if (row.at("answer").is_array() && row.at("answer")[0].is_array()) {
          return JsonRow{{{"answer", row.at("answer")[0]}}, row.where}.texts("answer");
        }
        return answers;
      case Label::first:
        return {answers[0]};
      case Label::option:
        break;
    }
    constexpr std::string_view kLetters = "ABCD";
    if (answers.size() == 2 && answers[1].size() == 1 &&
        kLetters.find(answers[1]) != std::string_view::npos) {
      return answers;
    }
    const std::vector<std::string> options = row.texts("options");
    const auto found = std::find(options.begin(), options.end(), answers[0]);
    if (found == options.end()) throw Error(row.where, "the answer is none of the options");
    return {answers[0],
            std::string(kLetters.substr(static_cast<std::size_t>(found - options.begin()), 1))};
  }

  Entry entry_;
  std::string template_;
  std::int64_t max_new_tokens_ = 0;
};

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Family& family : kFamilies) {
    for (const Entry& entry : kEntries) {
      all.push_back(fmt::format("{}{}", family.prefix, entry.name));
    }
  }
  return all;
}

std::unique_ptr<Task> make(std::string_view name) {
  for (const Family& family : kFamilies) {
    for (const Entry& entry : kEntries) {
      if (name == fmt::format("{}{}", family.prefix, entry.name)) {
        return std::make_unique<InfiniteBench>(entry, family);
      }
    }
  }
  return nullptr;
}

}  // namespace

TaskFamily infinitebench_family() {
  return {names, make};
}

}  // namespace sala
