// Noise, prose and users' texts as lists of units.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/haystack.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/base/data_dir.h"
#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "engine/base/utf8.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

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

std::string read_utf8(const fs::path& path) {
  std::string text = read_text_file(path);
  if (const std::size_t bad = find_invalid_utf8(text); bad != std::string::npos) {
    throw Error(path.string(), "not valid UTF-8 at byte {} (0x{:02X}); convert the file first", bad,
                static_cast<unsigned char>(text[bad]));
  }
  if (path.extension() != ".json") return text;
  try {
    return nlohmann::json::parse(text).at("text").get<std::string>();
  } catch (const nlohmann::json::exception&) {
    throw Error(path.string(), "expected JSON of the form {{\"text\": \"...\"}}");
  }
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

std::vector<std::string> read_sentences(const std::string& path) {
  std::string text;
  if (fs::is_directory(path)) {
    std::vector<fs::path> files;
    if (fs::exists(fs::path(path) / "essay.json")) {
      files.push_back(fs::path(path) / "essay.json");
    } else {
      for (const auto& entry : fs::directory_iterator(path)) {
        if (entry.path().extension() == ".txt") files.push_back(entry.path());
      }
      std::sort(files.begin(), files.end());
    }
    if (files.empty()) {
      throw Error(path, "the folder holds neither essay.json nor .txt files for the haystack");
    }
    for (const auto& file : files) text += read_utf8(file) + "\n";
  } else {
    text = read_utf8(path);
  }
  auto sentences = split_sentences(text);
  if (sentences.empty()) throw Error(path, "the haystack text is empty");
  return sentences;
}

const Prose& Texts::prose() const {
  const std::lock_guard lock(mutex_);
  if (!prose_) prose_ = std::make_unique<const Prose>(data_dir() / "text" / "prose.json");
  return *prose_;
}

Haystack Texts::haystack(const std::string& data, std::uint64_t seed) const {
  if (data.empty()) return prose_haystack(prose(), seed);
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(sentences_.begin(), sentences_.end(),
                                  [&](const auto& entry) { return entry.first == data; });
  if (found != sentences_.end()) return text_haystack(*found->second, seed);
  auto read = std::make_unique<const std::vector<std::string>>(read_sentences(data));
  const auto& kept = sentences_.emplace_back(data, std::move(read));
  return text_haystack(*kept.second, seed);
}

}  // namespace sala
