// Reads the essay and its sentence starts, and cuts one by the other.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/ruler/essay.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "engine/base/sha256.h"
#include "engine/base/utf8.h"
#include "tasks/data_files.h"

namespace sala {
namespace {

constexpr const char* kEssay = "essay.json";
constexpr const char* kSentences = "essay.sents.json";
constexpr const char* kFormat = "sala-sentence-starts-1";

/// Every run of white space as one space.
std::string normalized(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_space = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const bool space = is_white_space(next_code_point(text, at));
    if (!space) {
      out.append(text, begin, at - begin);
    } else if (!in_space) {
      out += ' ';
    }
    in_space = space;
  }
  return out;
}

std::string_view without_spaces(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

}  // namespace

Essay::Essay(const std::vector<std::string>& data) {
  const auto essay_path = data_file(data, kEssay);
  const auto starts_path = data_file(data, kSentences);
  const std::string bytes = read_text_file(essay_path);
  try {
    text_ = normalized(nlohmann::json::parse(bytes).at("text").get<std::string>());
  } catch (const nlohmann::json::exception& error) {
    throw Error(essay_path.string(), "expected JSON of the form {{\"text\": \"...\"}}: {}",
                error.what());
  }
  bool seam_break = false;
  try {
    const auto root = nlohmann::json::parse(read_text_file(starts_path));
    if (root.at("format") != kFormat) {
      throw Error(starts_path.string(), "has format {}, expected {}", root.at("format").dump(),
                  kFormat);
    }
    if (root.at("essay_sha256") != sha256_hex(bytes)) {
      throw Error(starts_path.string(),
                  "was made from another text than {}; make it again with "
                  "scripts/make_sentence_starts.py",
                  essay_path.string());
    }
    starts_ = root.at("starts").get<std::vector<std::size_t>>();
    seam_break = root.at("seam_break").get<bool>();
  } catch (const nlohmann::json::exception& error) {
    throw Error(starts_path.string(), "is no file of sentence starts: {}", error.what());
  }
  if (starts_.size() < 2 || !std::is_sorted(starts_.begin(), starts_.end()) ||
      starts_.back() >= text_.size()) {
    throw Error(starts_path.string(),
                "'starts' has fewer than two sentences, is not ascending or goes beyond the text");
  }
  first_again_ = seam_break ? 0 : 1;

  words_.push_back(0);
  for (std::size_t i = 0; i < text_.size(); ++i) {
    if (text_[i] == ' ') words_.push_back(i + 1);
  }
  text_ += ' ';
  period_ = text_.size();
  text_ += std::string(text_);
}

std::size_t Essay::byte_of_word(std::size_t n) const {
  return n / words_.size() * period_ + words_[n % words_.size()];
}

std::string_view Essay::slice(std::size_t begin, std::size_t end) const {
  return std::string_view(text_).substr(begin % period_, end - begin);
}

std::vector<std::string_view> Essay::sentences(std::int64_t n_words) const {
  const std::size_t end = byte_of_word(static_cast<std::size_t>(n_words)) - 1;
  std::vector<std::string_view> pieces;
  std::size_t begin = starts_[0];
  const auto close = [&](std::size_t at) {
    const std::string_view piece = without_spaces(slice(begin, std::min(at, end)));
    if (!piece.empty()) pieces.push_back(piece);
    begin = at;
  };
  std::size_t i = 1;
  for (std::size_t base = 0; begin < end; base += period_, i = first_again_) {
    for (; i < starts_.size() && begin < end; ++i) close(base + starts_[i]);
  }
  return pieces;
}

}  // namespace sala
