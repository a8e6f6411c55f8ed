// The table of scorers.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

#include "engine/base/error.h"
#include "harness/scorers/scorers.h"

namespace sala {
namespace {

// Sorted by name.
constexpr Scorer kScorers[] = {
    {"babilong", 1, "labels named by the answer are exactly the target", score_babilong},
    {"infinitebench_choice", 1, "option named by the answer", score_infinitebench_choice},
    {"infinitebench_code_debug", 1, "function or letter that the answer names",
     score_infinitebench_code_debug},
    {"infinitebench_code_run", 1, "last word equals the integer", score_infinitebench_code_run},
    {"infinitebench_dialogue", 1, "a word equals the name", score_infinitebench_dialogue},
    {"infinitebench_kv", 1, "a word equals the value", score_infinitebench_kv},
    {"infinitebench_math_calc", 1, "share of numbers before the first wrong one",
     score_infinitebench_math_calc},
    {"infinitebench_math_calc_gpt4", 1, "the same without the answer's first number",
     score_infinitebench_math_calc_gpt4},
    {"infinitebench_math_find", 1, "first number equals the label", score_infinitebench_math_find},
    {"infinitebench_number", 1, "first run of digits equals the label", score_infinitebench_number},
    {"infinitebench_qa", 1, "best F1 over words", score_infinitebench_qa},
    {"infinitebench_qa_zh", 1, "best F1 over Chinese characters", score_infinitebench_qa_zh},
    {"infinitebench_sum", 1, "ROUGE-Lsum F", score_infinitebench_sum},
    {"longbench2", 1, "letter behind 'The correct answer is'", score_longbench2},
    {"longbench_class", 1, "one over the number of classes named, if right", score_longbench_class},
    {"longbench_code", 1, "similarity of the first line of code", score_longbench_code},
    {"longbench_count", 1, "share of numbers that equal the count", score_longbench_count},
    {"longbench_f1", 1, "best F1 over words", score_longbench_f1},
    {"longbench_f1_line", 1, "best F1 over words of the first line", score_longbench_f1_line},
    {"longbench_retrieval", 1, "share of numbers that name the paragraph",
     score_longbench_retrieval},
    {"longbench_rouge", 1, "best ROUGE-L F", score_longbench_rouge},
    {"longbench_rouge_line", 1, "best ROUGE-L F of the first line", score_longbench_rouge_line},
    {"mrcr", 1, "difflib similarity behind the random prefix", score_mrcr},
    {"mrcr_v2", 1, "difflib similarity behind the last hash", score_mrcr_v2},
    {"niah_keyword", 1, "share of key phrases in the answer; no judge model", score_niah_keyword},
    {"nolima", 1, "a gold answer is in the answer, case and all", score_nolima},
    {"passkey", 1, "first number of the answer equals the key", score_passkey},
    {"perplexity", 1, "geometric mean of the prompt's token probabilities", score_perplexity},
    {"ruler_all", 2, "share of the references that the answer contains", score_ruler_all},
    {"ruler_part", 2, "any reference is in the answer", score_ruler_part},
};

}  // namespace

const Scorer& find_scorer(std::string_view name) {
  const auto* found = std::find_if(std::begin(kScorers), std::end(kScorers),
                                   [&](const Scorer& scorer) { return scorer.name == name; });
  if (found == std::end(kScorers)) {
    throw Error("scorers", "unknown scorer '{}'; the scorers are {}", name,
                fmt::join(scorer_names(), ", "));
  }
  return *found;
}

std::vector<std::string> scorer_names() {
  std::vector<std::string> names;
  for (const Scorer& scorer : kScorers) names.emplace_back(scorer.name);
  return names;
}

}  // namespace sala
