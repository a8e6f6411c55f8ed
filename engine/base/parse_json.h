// Parses JSON that came with a checkpoint.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

namespace sala {

/// Deeper than any file of a checkpoint nests. Copying, comparing and printing parsed JSON recurse,
/// so that without a limit a file of brackets alone would exhaust the stack.
constexpr int kMostJsonDepth = 64;

/// Throws Error naming the path for what is no JSON, has numbers that no double holds, or nests
/// deeper than kMostJsonDepth.
nlohmann::json parse_json(const std::filesystem::path& path, std::string_view text);

/// Throws Error naming the path where a parser is inside more than kMostJsonDepth values.
void check_json_depth(const std::filesystem::path& path, int depth);

}  // namespace sala
