// Overlap of an answer with a reference text: F1 over words, ROUGE in two dialects.
// SPDX-License-Identifier: Apache-2.0
#include "harness/scorers/text_metrics.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "engine/base/lower.h"
#include "engine/base/utf8.h"
#include "harness/scorers/text.h"

namespace sala {
namespace {

using Words = std::vector<std::string>;

bool is_ascii_punctuation(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}

bool is_ascii_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/// What \w matches in the scripts of the data sets: letters and digits, not the usual symbols.
bool is_word_character(char32_t c) {
  struct Range {
    char32_t first, last;
  };
  constexpr Range kSymbols[] = {
      {0xA1, 0xA9},     {0xAB, 0xB1},     {0xB4, 0xB4},     {0xB6, 0xB8},     {0xBB, 0xBB},
      {0xBF, 0xBF},     {0xD7, 0xD7},     {0xF7, 0xF7},     {0x2010, 0x205E}, {0x20A0, 0x20CF},
      {0x2190, 0x2BFF}, {0x3001, 0x3004}, {0x3008, 0x3020}, {0x30FB, 0x30FB}, {0xFF01, 0xFF0F},
      {0xFF1A, 0xFF20}, {0xFF3B, 0xFF40}, {0xFF5B, 0xFF65}};
  if (c < 0x80) return is_ascii_alphanumeric(static_cast<char>(c));
  return !is_white_space(c) && std::none_of(std::begin(kSymbols), std::end(kSymbols),
                                            [&](Range r) { return r.first <= c && c <= r.last; });
}

/// Lengths of the longest common subsequences of all prefixes.
class LcsTable {
 public:
  LcsTable(const Words& a, const Words& b) : width_(b.size() + 1), cells_((a.size() + 1) * width_) {
    for (std::size_t i = 1; i <= a.size(); ++i) {
      for (std::size_t j = 1; j <= b.size(); ++j) {
        cells_[i * width_ + j] = a[i - 1] == b[j - 1]
                                     ? (*this)(i - 1, j - 1) + 1
                                     : std::max((*this)(i - 1, j), (*this)(i, j - 1));
      }
    }
  }
  std::size_t operator()(std::size_t i, std::size_t j) const { return cells_[i * width_ + j]; }

 private:
  std::size_t width_;
  std::vector<std::size_t> cells_;
};

/// Which way to go back where both sides of the table are equally long.
enum class Tie { shorten_a, shorten_b };

/// Positions in `a` of one longest common subsequence, last first.
std::vector<std::size_t> lcs_positions(const Words& a, const Words& b, Tie tie) {
  const LcsTable table(a, b);
  std::vector<std::size_t> positions;
  for (std::size_t i = a.size(), j = b.size(); i > 0 && j > 0;) {
    if (a[i - 1] == b[j - 1]) {
      positions.push_back(i - 1);
      --i;
      --j;
    } else if (table(i - 1, j) > table(i, j - 1) ||
               (table(i - 1, j) == table(i, j - 1) && tie == Tie::shorten_a)) {
      --i;
    } else {
      --j;
    }
  }
  return positions;
}

/// Pieces between full stops, as words. White space alone counts as one empty word.
std::vector<Words> stop_sentences(std::string_view text) {
  std::vector<Words> sentences;
  for (const std::string& piece : split_at(text, ".")) {
    if (piece.empty()) continue;
    Words words = split_words(piece);
    if (words.empty()) words.emplace_back();
    sentences.push_back(std::move(words));
  }
  return sentences;
}

std::set<std::string> distinct_words(const std::vector<Words>& sentences) {
  std::set<std::string> words;
  for (const Words& sentence : sentences) words.insert(sentence.begin(), sentence.end());
  return words;
}

/// Runs of letters and digits of each line; lines without any stay, as empty ones.
std::vector<Words> line_sentences(std::string_view text) {
  std::vector<Words> sentences;
  for (const std::string& line : split_at(lower(text), "\n")) {
    if (line.empty()) continue;
    Words& words = sentences.emplace_back();
    bool inside = false;
    for (const char c : line) {
      const bool is_part = is_ascii_alphanumeric(c);
      if (is_part && !inside) words.emplace_back();
      if (is_part) words.back() += c;
      inside = is_part;
    }
  }
  return sentences;
}

std::map<std::string, int> count_words(const std::vector<Words>& sentences) {
  std::map<std::string, int> counts;
  for (const Words& sentence : sentences) {
    for (const std::string& word : sentence) ++counts[word];
  }
  return counts;
}

std::size_t total_words(const std::vector<Words>& sentences) {
  std::size_t total = 0;
  for (const Words& sentence : sentences) total += sentence.size();
  return total;
}

}  // namespace

std::vector<std::string> normalised_words(std::string_view text) {
  std::string kept = lower(text);
  std::erase_if(kept, is_ascii_punctuation);
  std::string out;
  std::string run;  // of word characters
  const auto end_run = [&] {
    const bool is_article = run == "a" || run == "an" || run == "the";
    out += is_article ? " " : run;
    run.clear();
  };
  for (std::size_t at = 0; at < kept.size();) {
    const std::size_t begin = at;
    const bool is_part = is_word_character(next_code_point(kept, at));
    if (!is_part) end_run();
    (is_part ? run : out) += kept.substr(begin, at - begin);
  }
  end_run();
  return split_words(out);
}

double bag_f1(std::vector<std::string> predicted, std::vector<std::string> wanted) {
  std::sort(predicted.begin(), predicted.end());
  std::sort(wanted.begin(), wanted.end());
  Words common;
  std::set_intersection(predicted.begin(), predicted.end(), wanted.begin(), wanted.end(),
                        std::back_inserter(common));
  if (common.empty()) return 0;
  const double precision =
      static_cast<double>(common.size()) / static_cast<double>(predicted.size());
  const double recall = static_cast<double>(common.size()) / static_cast<double>(wanted.size());
  return 2 * precision * recall / (precision + recall);
}

double rouge_l_pltrdy(std::string_view predicted, std::string_view wanted) {
  const std::vector<Words> hypothesis = stop_sentences(predicted);
  const std::vector<Words> reference = stop_sentences(wanted);
  if (hypothesis.empty() || reference.empty()) return 0;
  std::set<std::string> matched;
  for (const Words& wanted_sentence : reference) {
    for (const Words& sentence : hypothesis) {
      for (const std::size_t at : lcs_positions(wanted_sentence, sentence, Tie::shorten_b)) {
        matched.insert(wanted_sentence[at]);
      }
    }
  }
  const auto l = static_cast<double>(matched.size());
  const double r = l / static_cast<double>(distinct_words(reference).size());
  const double p = l / static_cast<double>(distinct_words(hypothesis).size());
  return 2.0 * ((p * r) / (p + r + 1e-8));
}

double rouge_lsum_google(std::string_view predicted, std::string_view wanted) {
  const std::vector<Words> hypothesis = line_sentences(predicted);
  const std::vector<Words> reference = line_sentences(wanted);
  const std::size_t m = total_words(reference);
  const std::size_t n = total_words(hypothesis);
  if (m == 0 || n == 0) return 0;
  std::map<std::string, int> left_wanted = count_words(reference);
  std::map<std::string, int> left_predicted = count_words(hypothesis);
  std::size_t hits = 0;
  for (const Words& sentence : reference) {
    std::set<std::size_t> positions;
    for (const Words& other : hypothesis) {
      for (const std::size_t at : lcs_positions(sentence, other, Tie::shorten_a))
        positions.insert(at);
    }
    for (const std::size_t at : positions) {
      int& wanted_count = left_wanted[sentence[at]];
      int& predicted_count = left_predicted[sentence[at]];
      if (wanted_count == 0 || predicted_count == 0) continue;
      ++hits;
      --wanted_count;
      --predicted_count;
    }
  }
  const double recall = static_cast<double>(hits) / static_cast<double>(m);
  const double precision = static_cast<double>(hits) / static_cast<double>(n);
  return hits == 0 ? 0 : 2 * precision * recall / (precision + recall);
}

}  // namespace sala
