// Checked access to parsed JSON.
// SPDX-License-Identifier: Apache-2.0
#include "engine/text/json_file.h"

#include "engine/base/error.h"
#include "engine/base/parse_json.h"

namespace sala {

using nlohmann::json;

namespace {

constexpr TokenId kMaxId = 1 << 24;
constexpr int kMaxDepth = 8;

}  // namespace

JsonFile::JsonFile(const std::filesystem::path& path, const std::string& text)
    : where(path.string()), root(parse_json(path, text)) {}

const json& JsonFile::member(const json& object, const std::string& field, const char* key) const {
  static const json kNull;
  if (!object.is_object()) {
    throw Error(where, "{} is {}, expected an object", field, object.type_name());
  }
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

std::string JsonFile::text(const json& value, const std::string& field) const {
  if (!value.is_string()) {
    throw Error(where, "{} is {}, expected a string", field, value.type_name());
  }
  return value.get<std::string>();
}

bool JsonFile::flag(const json& object, const std::string& field, const char* key,
                    bool absent) const {
  const json& value = member(object, field, key);
  if (value.is_null()) return absent;
  if (!value.is_boolean()) {
    throw Error(where, "{}.{} is {}, expected true or false", field, key, value.type_name());
  }
  return value.get<bool>();
}

TokenId JsonFile::token_id(const json& value, const std::string& field) const {
  if (!value.is_number_integer() || value < 0 || value >= kMaxId) {
    throw Error(where, "{} is {}, expected a token id from 0 to {}", field, value.dump(),
                kMaxId - 1);
  }
  return value.get<TokenId>();
}

void JsonFile::expect_array(const json& value, const std::string& field) const {
  if (!value.is_array()) {
    throw Error(where, "{} is {}, expected an array", field, value.type_name());
  }
}

void JsonFile::refuse(const std::string& field, const json& value, const char* expected) const {
  throw Error(where, "{} {} is not supported, expected {}", field,
              value.is_string() ? value.get<std::string>() : value.dump(), expected);
}

void JsonFile::for_each_step(const json& value, const std::string& field, const char* list,
                             const Visit& visit, int depth) const {
  if (value.is_null()) return;
  if (member(value, field, "type") != "Sequence") {
    visit(value, field);
    return;
  }
  if (depth == kMaxDepth) throw Error(where, "{} nests deeper than {} steps", field, kMaxDepth);
  const std::string name = field + "." + list;
  const json& steps = member(value, field, list);
  expect_array(steps, name);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    for_each_step(steps[i], fmt::format("{}[{}]", name, i), list, visit, depth + 1);
  }
}

}  // namespace sala
