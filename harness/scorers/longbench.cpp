// LongBench's metrics, versions 1 and 2.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <regex>

#include "engine/base/error.h"
#include "engine/base/utf8.h"
#include "harness/scorers/difflib.h"
#include "harness/scorers/scorers.h"
#include "harness/scorers/text.h"
#include "harness/scorers/text_metrics.h"

namespace sala {
namespace {

using Metric = double (*)(std::string_view predicted, std::string_view wanted);

Score graded(double value, const Answer& answer) {
  if (value == 1) return {1, "", ""};
  return {value, strip(answer.text).empty() ? "empty" : "miss", ""};
}

/// The best value over the references.
Score best_of(const std::vector<std::string>& references, const Answer& answer,
              std::string_view text, Metric metric) {
  if (references.empty()) throw Error("longbench", "a sample has no answer to compare with");
  double best = 0;
  for (const std::string& reference : references) best = std::max(best, metric(text, reference));
  return graded(best, answer);
}

double f1(std::string_view predicted, std::string_view wanted) {
  return bag_f1(normalised_words(predicted), normalised_words(wanted));
}

/// Share of the numbers in the text that equal the wanted one.
double share_of_numbers(std::string_view predicted, std::string_view wanted) {
  const std::vector<std::string> numbers = digit_runs(predicted);
  if (numbers.empty()) return 0;
  const auto hits = std::count(numbers.begin(), numbers.end(), wanted);
  return static_cast<double>(hits) / static_cast<double>(numbers.size());
}

double retrieval(std::string_view predicted, std::string_view wanted) {
  for (const std::string_view label : {"Paragraph ", "段落"}) {
    const std::size_t at = wanted.find(label);
    if (at == std::string_view::npos) continue;
    const std::string_view rest = wanted.substr(at + label.size());
    const std::vector<std::string> number = digit_runs(rest);
    if (!number.empty() && rest.starts_with(number[0])) {
      return share_of_numbers(predicted, number[0]);
    }
  }
  throw Error("longbench", "the answer '{}' names no paragraph, expected 'Paragraph N'", wanted);
}

/// fuzz.ratio of the first line that is neither a comment nor Markdown, in hundredths.
double code_similarity(std::string_view predicted, std::string_view wanted) {
  predicted.remove_prefix(std::min(predicted.find_first_not_of('\n'), predicted.size()));
  for (const std::string& line : split_at(predicted, "\n")) {
    if (contains(line, "`") || contains(line, "#") || contains(line, "//")) continue;
    if (line.empty() || wanted.empty()) return 0;
    return std::nearbyint(100 * sequence_ratio(line, wanted)) / 100;
  }
  return 0;
}

}  // namespace

Score score_longbench_f1(const std::vector<std::string>& references, const Answer& answer) {
  return best_of(references, answer, answer.text, f1);
}

Score score_longbench_f1_line(const std::vector<std::string>& references, const Answer& answer) {
  return best_of(references, answer, first_line(answer.text), f1);
}

Score score_longbench_rouge(const std::vector<std::string>& references, const Answer& answer) {
  return best_of(references, answer, answer.text, rouge_l_pltrdy);
}

Score score_longbench_rouge_line(const std::vector<std::string>& references, const Answer& answer) {
  return best_of(references, answer, first_line(answer.text), rouge_l_pltrdy);
}

Score score_longbench_retrieval(const std::vector<std::string>& references, const Answer& answer) {
  return best_of(references, answer, answer.text, retrieval);
}

Score score_longbench_count(const std::vector<std::string>& references, const Answer& answer) {
  return best_of(references, answer, answer.text, share_of_numbers);
}

Score score_longbench_code(const std::vector<std::string>& references, const Answer& answer) {
  return best_of(references, answer, answer.text, code_similarity);
}

Score score_longbench_class(const std::vector<std::string>& references, const Answer& answer) {
  if (references.size() < 2) {
    throw Error("longbench", "a sample has {} references, expected the class and all classes",
                references.size());
  }
  const std::string& wanted = references[0];
  const std::string_view text = first_line(answer.text);
  std::vector<std::string> named;
  for (std::size_t i = 1; i < references.size(); ++i) {
    if (contains(text, references[i])) named.push_back(references[i]);
  }
  const bool has_named = !named.empty();
  // The published loop removes from the list it walks over, which skips the next one.
  for (std::size_t i = 0; i < named.size(); ++i) {
    if (named[i] == wanted || !contains(wanted, named[i])) continue;
    named.erase(std::find(named.begin(), named.end(), named[i]));
  }
  if (std::find(named.begin(), named.end(), wanted) != named.end()) {
    return graded(1 / static_cast<double>(named.size()), answer);
  }
  Score score = graded(0, answer);
  if (!has_named && score.error_class == "miss") score.error_class = "format";
  return score;
}

Score score_longbench2(const std::vector<std::string>& references, const Answer& answer) {
  if (references.size() != 1) {
    throw Error("longbench2", "a sample has {} references, expected the letter", references.size());
  }
  static const std::regex kBracketed(R"(The correct answer is \(([A-D])\))");
  static const std::regex kBare("The correct answer is ([A-D])");
  const std::string text = replace_all(answer.text, "*", "");
  std::smatch found;
  if (!std::regex_search(text, found, kBracketed) && !std::regex_search(text, found, kBare)) {
    return {0, strip(text).empty() ? "empty" : "format", ""};
  }
  return found[1].str() == references[0] ? Score{1, "", ""} : Score{0, "miss", ""};
}

}  // namespace sala
