// InfiniteBench's scores, one function a task; each searches the answer in its own way.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "engine/base/error.h"
#include "engine/base/lower.h"
#include "engine/base/utf8.h"
#include "harness/scorers/scorers.h"
#include "harness/scorers/text.h"
#include "harness/scorers/text_metrics.h"

namespace sala {
namespace {

constexpr std::string_view kChinesePunctuation =
    "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕"
    "〖〗"
    "〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏.";

Score graded(double value, const Answer& answer) {
  if (value == 1) return {1, "", ""};
  return {value, strip(answer.text).empty() ? "empty" : "miss", ""};
}

const std::string& at(const std::vector<std::string>& references, std::size_t i) {
  if (i >= references.size()) {
    throw Error("infinitebench", "a sample has {} references, expected {} or more",
                references.size(), i + 1);
  }
  return references[i];
}

std::string squeezed(std::string text) {
  while (contains(text, "  ")) text = replace_all(text, "  ", " ");
  return text;
}

/// The text from one character behind the first of the phrases that occurs, tried in order.
std::optional<std::string_view> behind(std::string_view text,
                                       std::initializer_list<std::string_view> phrases) {
  for (const std::string_view phrase : phrases) {
    const std::size_t found = text.find(phrase);
    if (found == std::string_view::npos) continue;
    return text.substr(std::min(found + phrase.size() + 1, text.size()));
  }
  return std::nullopt;
}

std::vector<std::string> plain_words(std::string_view text) {
  return split_words(blank_out(text, {"\n", ":", "\"", "'", ".", ",", "?", "!", "{", "}"}));
}

bool holds(const std::vector<std::string>& list, std::string_view item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

std::string without_leading_zeros(std::string_view digits) {
  const std::size_t first = digits.find_first_not_of('0');
  return first == std::string_view::npos ? "0" : std::string(digits.substr(first));
}

/// An integer as int() prints it again; nothing for other text.
std::optional<std::string> integer(std::string_view text) {
  std::string_view digits = text;
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string_view::npos) {
    return std::nullopt;
  }
  const std::string plain = without_leading_zeros(digits);
  return negative && plain != "0" ? "-" + plain : plain;
}

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Code points without punctuation and white space.
std::vector<std::string> chinese_characters(std::string_view text) {
  std::vector<std::string> characters;
  const std::string small = lower(text);
  for (std::size_t i = 0; i < small.size();) {
    const std::size_t begin = i;
    const char32_t c = next_code_point(small, i);
    const std::string character = small.substr(begin, i - begin);
    const bool ascii_punctuation = (c >= '!' && c <= '/') || (c >= ':' && c <= '@') ||
                                   (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
    if (ascii_punctuation || is_white_space(c) || contains(kChinesePunctuation, character))
      continue;
    characters.push_back(character);
  }
  return characters;
}

template <typename F1>
Score best_f1(const std::vector<std::string>& references, const Answer& answer, F1 f1) {
  double best = 0;
  for (std::size_t i = 0; i == 0 || i < references.size(); ++i) {
    best = std::max(best, f1(at(references, i)));
  }
  return graded(best, answer);
}

double matched_prefix(const std::vector<std::string>& wanted, std::vector<std::string> said) {
  std::size_t n = 0;
  while (n < wanted.size() && n < said.size() && without_leading_zeros(said[n]) == wanted[n]) ++n;
  return static_cast<double>(n) / static_cast<double>(wanted.size());
}

}  // namespace

Score score_infinitebench_kv(const std::vector<std::string>& references, const Answer& answer) {
  return graded(holds(plain_words(answer.text), at(references, 0)) ? 1 : 0, answer);
}

Score score_infinitebench_number(const std::vector<std::string>& references, const Answer& answer) {
  const std::vector<std::string> numbers = digit_runs(answer.text);
  if (numbers.empty()) {
    return {0, error_class(strip(answer.text), at(references, 0), answer.hit_token_limit), ""};
  }
  if (numbers[0] == at(references, 0)) return {1, "", ""};
  return {0, error_class(numbers[0], at(references, 0), answer.hit_token_limit), ""};
}

Score score_infinitebench_code_run(const std::vector<std::string>& references,
                                   const Answer& answer) {
  const std::vector<std::string> words =
      split_words(blank_out(answer.text, {"\n", ".", "`", "'", "\"", ":"}));
  const auto said = words.empty() ? std::nullopt : integer(words.back());
  if (!said && !words.empty()) return {0, "format", ""};
  return graded(said && said == integer(at(references, 0)) ? 1 : 0, answer);
}

Score score_infinitebench_code_debug(const std::vector<std::string>& references,
                                     const Answer& answer) {
  const std::string& function = at(references, 0);
  const std::string& letter = at(references, 1);
  const std::string_view text = strip(answer.text);
  if (text.starts_with(letter + ".") || text.starts_with(letter + ":")) return {1, "", ""};
  const std::string plain =
      squeezed(blank_out(text, {"\n", "`", "'", "\"", "-", "*", "Option", "option"}));
  const auto said = behind(plain, {"answer is:", "is:", "answer:", "correct option is:"});
  if (!said) return {0, text.empty() ? "empty" : "format", ""};
  return graded(said->starts_with(letter) || said->starts_with(function) ? 1 : 0, answer);
}

Score score_infinitebench_math_find(const std::vector<std::string>& references,
                                    const Answer& answer) {
  constexpr std::string_view kDigits = "0123456789";
  const std::string& label = at(references, 0);
  const std::string_view text = answer.text;
  const std::size_t begin = text.find_first_of(kDigits);
  if (begin == std::string_view::npos) return {0, text.empty() ? "empty" : "format", ""};
  std::size_t end = std::min(text.find_first_not_of(kDigits, begin), text.size());
  const bool has_fraction = end + 1 < text.size() && text[end] == '.' &&
                            kDigits.find(text[end + 1]) != std::string_view::npos;
  if (has_fraction) end = std::min(text.find_first_not_of(kDigits, end + 1), text.size());
  const std::string_view said = text.substr(begin, end - begin);
  const bool right =
      integer(label) ? integer(said) == integer(label) : number(said) == number(label);
  return graded(right ? 1 : 0, answer);
}

Score score_infinitebench_dialogue(const std::vector<std::string>& references,
                                   const Answer& answer) {
  for (const std::string& word : plain_words(answer.text)) {
    // The labels are names in capitals; what matters is that only case may differ.
    if (lower(word) == lower(at(references, 0))) return {1, "", ""};
  }
  return graded(0, answer);
}

Score score_infinitebench_choice(const std::vector<std::string>& references, const Answer& answer) {
  const std::array<std::string, 2> label{at(references, 0), at(references, 1)};
  const auto in_label = [&](std::string_view text) { return text == label[0] || text == label[1]; };
  const std::string_view text = strip(answer.text);
  if (text.empty()) return {0, "empty", ""};
  if (text[0] >= 'A' && text[0] <= 'D') return graded(in_label(text.substr(0, 1)) ? 1 : 0, answer);
  if (in_label(text)) return {1, "", ""};
  const std::string plain =
      squeezed(blank_out(text, {"\n", "\"", "'", ".", ",", "?", "!", "{", "}"}));
  if (const auto said = behind(plain, {"answer is:", "answer:", "answer is", "option is"})) {
    return graded(said->starts_with(label[0]) || said->starts_with(label[1]) ? 1 : 0, answer);
  }
  for (const std::string& word : split_words(plain)) {
    if (contains("ABCD", word)) return graded(in_label(word) ? 1 : 0, answer);
  }
  return {0, "format", ""};
}

Score score_infinitebench_qa(const std::vector<std::string>& references, const Answer& answer) {
  return best_f1(references, answer, [&](const std::string& wanted) {
    return bag_f1(normalised_words(answer.text), normalised_words(wanted));
  });
}

Score score_infinitebench_qa_zh(const std::vector<std::string>& references, const Answer& answer) {
  return best_f1(references, answer, [&](const std::string& wanted) {
    return bag_f1(chinese_characters(answer.text), chinese_characters(wanted));
  });
}

Score score_infinitebench_sum(const std::vector<std::string>& references, const Answer& answer) {
  return graded(rouge_lsum_google(answer.text, at(references, 0)), answer);
}

Score score_infinitebench_math_calc(const std::vector<std::string>& references,
                                    const Answer& answer) {
  return graded(matched_prefix(references, digit_runs(answer.text)), answer);
}

Score score_infinitebench_math_calc_gpt4(const std::vector<std::string>& references,
                                         const Answer& answer) {
  std::vector<std::string> said = digit_runs(answer.text);
  if (!said.empty()) said.erase(said.begin());
  return graded(matched_prefix(references, std::move(said)), answer);
}

}  // namespace sala
