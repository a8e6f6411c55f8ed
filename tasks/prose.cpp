// Parses the sentence templates once; a sentence is then a few random draws.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/prose.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/mapped_file.h"

namespace sala {

Prose::Prose(const std::filesystem::path& path) : where_(path.string()) {
  using nlohmann::json;
  json root;
  try {
    root = json::parse(read_text_file(path));
  } catch (const json::parse_error& error) {
    throw Error(where_, "not valid JSON at byte {}", error.byte);
  }
  const auto is_list = [](const json& value) {
    return value.is_array() && !value.empty() &&
           std::all_of(value.begin(), value.end(), [](const json& item) {
             return item.is_string() && !item.get_ref<const std::string&>().empty();
           });
  };
  if (!root.is_object() || !root.contains("lists") || !root["lists"].is_object()) {
    throw Error(where_, "has no object 'lists' of word lists");
  }
  for (const auto& [name, list] : root["lists"].items()) {
    if (!is_list(list)) throw Error(where_, "lists.{} is not an array of words", name);
    names_.push_back(name);
    lists_.push_back(list.get<std::vector<std::string>>());
  }
  if (!root.contains("sentences") || !is_list(root["sentences"])) {
    throw Error(where_, "has no array 'sentences' of sentence templates");
  }
  for (const auto& sentence : root["sentences"]) {
    sentences_.push_back(parse(sentence.get<std::string>()));
  }
}

std::vector<Prose::Part> Prose::parse(const std::string& sentence) const {
  std::vector<Part> parts;
  std::size_t at = 0;
  while (at < sentence.size()) {
    const std::size_t open = std::min(sentence.find('{', at), sentence.size());
    if (open > at) parts.emplace_back(sentence.substr(at, open - at));
    if (open == sentence.size()) break;
    const std::size_t close = sentence.find('}', open);
    if (close == std::string::npos) {
      throw Error(where_, "sentence '{}' has a slot without its closing brace", sentence);
    }
    const std::string name = sentence.substr(open + 1, close - open - 1);
    const auto found = std::find(names_.begin(), names_.end(), name);
    if (found == names_.end()) {
      throw Error(where_, "sentence '{}' names list '{}', which 'lists' lacks", sentence, name);
    }
    parts.emplace_back(static_cast<std::size_t>(found - names_.begin()));
    at = close + 1;
  }
  return parts;
}

std::string Prose::sentence(PythonRandom& random) const {
  std::string text;
  for (const Part& part : random.choice(sentences_)) {
    if (const auto* list = std::get_if<std::size_t>(&part)) {
      text += random.choice(lists_[*list]);
    } else {
      text += std::get<std::string>(part);
    }
  }
  if (text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

const std::vector<std::string>& Prose::words(std::string_view list) const {
  const auto found = std::find(names_.begin(), names_.end(), list);
  if (found == names_.end()) throw Error(where_, "has no word list '{}'", list);
  return lists_[static_cast<std::size_t>(found - names_.begin())];
}

}  // namespace sala
