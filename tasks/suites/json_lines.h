// Rows of a JSON file, one object a line or one array, each parsed when it is asked for.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/mapped_file.h"

namespace sala {

/// One object and where it is, for messages.
struct JsonRow {
  nlohmann::json value;
  std::string where;

  /// A field's text, or its JSON when it is none. Throws Error when the row lacks it.
  std::string text(std::string_view field) const;
  /// A field that is a list of texts, or one text. Throws Error when the row lacks it.
  std::vector<std::string> texts(std::string_view field) const;
  const nlohmann::json& at(std::string_view field) const;
};

/// Constant after load; the file stays mapped. Files of many gigabytes are fine.
class JsonLines {
 public:
  /// Throws Error naming the file when it holds no row.
  explicit JsonLines(const std::filesystem::path& path);

  std::int64_t size() const { return static_cast<std::int64_t>(rows_.size()); }
  /// i in [0, size()). Throws Error naming file and line when it is no JSON object or not UTF-8.
  JsonRow operator[](std::int64_t i) const;

 private:
  struct Line {
    std::string_view text;
    std::size_t number;
  };
  void read_array();

  std::string where_;
  MappedFile file_;
  std::string_view text_;
  nlohmann::json array_;  // of a file that is one
  std::vector<Line> rows_;
};

}  // namespace sala
