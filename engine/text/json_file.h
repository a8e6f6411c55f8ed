// A JSON file of a model folder, read with errors that name the file and the field.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/base/token.h"

namespace sala {

/// The document with the path that its errors name. All functions throw Error.
struct JsonFile {
  std::string where;
  nlohmann::json root;

  /// Parses text that was read from `path`.
  JsonFile(const std::filesystem::path& path, const std::string& text);

  /// The member of `object`, which `field` names, or null when it is absent.
  const nlohmann::json& member(const nlohmann::json& object, const std::string& field,
                               const char* key) const;
  const nlohmann::json& member(const char* key) const { return member(root, "the file", key); }
  std::string text(const nlohmann::json& value, const std::string& field) const;
  /// A member that is true or false; `absent` when it is missing or null.
  bool flag(const nlohmann::json& object, const std::string& field, const char* key,
            bool absent) const;
  TokenId token_id(const nlohmann::json& value, const std::string& field) const;
  void expect_array(const nlohmann::json& value, const std::string& field) const;
  [[noreturn]] void refuse(const std::string& field, const nlohmann::json& value,
                           const char* expected) const;

  /// Calls visit(step, field) for an object with a type; for a "Sequence", whose steps are listed
  /// under `list`, for each of its steps. Null has none.
  using Visit = std::function<void(const nlohmann::json&, const std::string&)>;
  void for_each_step(const nlohmann::json& value, const std::string& field, const char* list,
                     const Visit& visit, int depth = 0) const;
};

}  // namespace sala
