// Noise, prose and users' texts as lists of units.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/haystack.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/base/data_dir.h"
#include "engine/base/error.h"
#include "engine/base/sha256.h"
#include "engine/base/utf8.h"
#include "tasks/data_files.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEssay = "essay.json";

bool is_sentence_end(char32_t c) {
  return c == '.' || c == '?' || c == '!';
}

bool closes(char32_t c) {
  return c == '"' || c == '\'' || c == ')' || c == ']' || c == '}' || c == 0xBB || c == 0x2019 ||
         c == 0x201D;
}

// Capitals of Latin, Latin-1, Greek and Cyrillic; other scripts seldom have them.
bool opens_sentence(char32_t c) {
  return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '"' || c == '\'' || c == 0xAB ||
         c == 0x2018 || c == 0x201C || (c >= 0xC0 && c <= 0xDE && c != 0xD7) ||
         (c >= 0x391 && c <= 0x3A9) || (c >= 0x400 && c <= 0x42F);
}

/// Whether a sentence ends with this word, whatever follows.
bool ends_sentence(std::string_view word) {
  bool ended = false;
  for (std::size_t at = 0; at < word.size();) {
    const char32_t c = next_code_point(word, at);
    ended = is_sentence_end(c) || (ended && closes(c));
  }
  return ended;
}

/// The text itself, or what a JSON file has under "text".
std::string read_text(const fs::path& path) {
  std::string text = read_utf8(path);
  if (path.extension() != ".json") return text;
  try {
    return nlohmann::json::parse(text).at("text").get<std::string>();
  } catch (const nlohmann::json::exception&) {
    throw Error(path.string(), "expected JSON of the form {{\"text\": \"...\"}}");
  }
}

/// A folder's .txt files by name, but for what comes with a data set.
std::vector<fs::path> texts_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool is_about = name.starts_with("LICENSE") || name.starts_with("README");
    if (name.ends_with(".txt") && !is_about) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// The first of `data` that is a file or has essay.json, else the first with texts: their files.
/// None when the built-in prose takes their place.
std::vector<fs::path> find_text(const std::vector<std::string>& data) {
  std::vector<fs::path> texts;
  for (const std::string& given : data) {
    const fs::path path = given;
    if (!fs::is_directory(path)) return {path};
    if (fs::exists(path / kEssay)) return {path / kEssay};
    if (texts.empty()) texts = texts_in(path);
  }
  if (!texts.empty() || data.empty() || has_ruler_files(data)) return texts;
  throw Error(fmt::format("{}", fmt::join(data, ", ")),
              "holds neither {} nor .txt files for the haystack", kEssay);
}

}  // namespace

Haystack noise_haystack() {
  return {"\n", [] { return std::string(kNoiseLine); }};
}

Haystack prose_haystack(const Prose& prose, std::uint64_t seed) {
  return {" ", [&prose, random = PythonRandom(seed)]() mutable { return prose.sentence(random); }};
}

Haystack text_haystack(const std::vector<std::string>& sentences, std::uint64_t seed) {
  return {" ", [&sentences, at = PythonRandom(seed).randbelow(sentences.size())]() mutable {
            const std::string& sentence = sentences[at];
            at = (at + 1) % sentences.size();
            return sentence;
          }};
}

std::vector<std::string> split_sentences(std::string_view text) {
  std::vector<std::string> sentences;
  std::string sentence;
  bool may_break = false;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t begin = at;
    char32_t first = next_code_point(text, at);
    if (is_white_space(first)) continue;
    std::size_t end = at;
    while (at < text.size()) {
      if (is_white_space(next_code_point(text, at))) break;
      end = at;
    }
    const std::string_view word = text.substr(begin, end - begin);
    if (may_break && opens_sentence(first)) sentences.push_back(std::exchange(sentence, {}));
    if (!sentence.empty()) sentence += ' ';
    sentence += word;
    may_break = ends_sentence(word);
  }
  if (!sentence.empty()) sentences.push_back(std::move(sentence));
  return sentences;
}

std::vector<std::string> read_sentences(const std::vector<std::string>& data) {
  const std::vector<fs::path> files = find_text(data);
  std::string text;
  for (const fs::path& file : files) text += read_text(file) + "\n";
  auto sentences = split_sentences(text);
  if (sentences.empty()) throw Error(files.front().string(), "the haystack text is empty");
  return sentences;
}

TaskSource text_source(const std::vector<std::string>& data) {
  const std::vector<fs::path> files = find_text(data);
  if (files.empty()) return built_in_source("prose");
  if (files.size() > 1) return {"texts", "", true};
  if (files.front().filename() == kEssay) {
    return data_source({files.front().parent_path().string()}, kEssay);
  }
  return {files.front().filename().string(), sha256_file(files.front()), true};
}

const Prose& Texts::prose() const {
  return prose_.get({}, [] { return Prose(data_dir() / "text" / "prose.json"); });
}

Haystack Texts::haystack(const std::vector<std::string>& data, std::uint64_t seed) const {
  if (find_text(data).empty()) return prose_haystack(prose(), seed);
  return text_haystack(sentences_.get(data, [&] { return read_sentences(data); }), seed);
}

}  // namespace sala
