// JSON with a limit to its depth.
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/parse_json.h"

#include "engine/base/error.h"

namespace sala {

using nlohmann::json;

json parse_json(const std::filesystem::path& path, std::string_view text) {
  const auto check = [&](int depth, json::parse_event_t, const json&) {
    check_json_depth(path, depth);
    return true;
  };
  try {
    return json::parse(text, check);
  } catch (const json::parse_error& error) {
    throw Error(path.string(), "is not valid JSON at byte {}; the file may be cut short",
                error.byte);
  } catch (const json::exception& error) {
    throw Error(path.string(), "is not valid JSON: {}", error.what());
  }
}

void check_json_depth(const std::filesystem::path& path, int depth) {
  if (depth <= kMostJsonDepth) return;
  throw Error(path.string(), "nests more than {} levels of JSON deep; the file is corrupt",
              kMostJsonDepth);
}

}  // namespace sala
