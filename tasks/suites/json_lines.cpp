// Finds the lines once; parsing waits until a row is wanted.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/suites/json_lines.h"

#include <algorithm>

#include "engine/base/error.h"

namespace sala {
namespace {

std::string text_of(const nlohmann::json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

}  // namespace

const nlohmann::json& JsonRow::at(std::string_view field) const {
  const auto found = value.find(field);
  if (found == value.end() || found->is_null()) {
    throw Error(where, "has no field '{}'; is it a file of this benchmark, exported row by row?",
                field);
  }
  return *found;
}

std::string JsonRow::text(std::string_view field) const {
  return text_of(at(field));
}

std::vector<std::string> JsonRow::texts(std::string_view field) const {
  const nlohmann::json& list = at(field);
  if (!list.is_array()) return {text_of(list)};
  std::vector<std::string> texts;
  for (const nlohmann::json& item : list) texts.push_back(text_of(item));
  return texts;
}

JsonLines::JsonLines(const std::filesystem::path& path) : where_(path.string()), file_(path) {
  text_ = {reinterpret_cast<const char*>(file_.bytes().data()), file_.bytes().size()};
  const std::size_t first = text_.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && text_[first] == '[') read_array();
  std::size_t number = 1;
  for (std::size_t at = 0; at < text_.size() && array_.is_null(); ++number) {
    const std::size_t end = std::min(text_.find('\n', at), text_.size());
    const std::string_view line = text_.substr(at, end - at);
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) rows_.push_back({line, number});
    at = end + 1;
  }
  if (rows_.empty()) throw Error(where_, "holds no rows; expected one JSON object a line");
}

void JsonLines::read_array() {
  try {
    array_ = nlohmann::json::parse(text_);
  } catch (const nlohmann::json::exception& error) {
    throw Error(where_, "is no JSON array, or a cut-off one: {}", error.what());
  }
  for (std::size_t i = 0; i < array_.size(); ++i) rows_.push_back({"", i + 1});
}

JsonRow JsonLines::operator[](std::int64_t i) const {
  const Line& line = rows_[static_cast<std::size_t>(i)];
  const bool is_line = array_.is_null();
  JsonRow row{{}, fmt::format("{} {} {}", where_, is_line ? "line" : "entry", line.number)};
  try {
    row.value = is_line ? nlohmann::json::parse(line.text) : array_[line.number - 1];
  } catch (const nlohmann::json::exception& error) {
    throw Error(row.where, "is no JSON object, or a cut-off one: {}", error.what());
  }
  if (!row.value.is_object()) throw Error(row.where, "is no JSON object");
  return row;
}

}  // namespace sala
