// Reads and prints token counts and bytes: 4k, 1M, lists and geometric ranges.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sala {

/// A positive whole number with an optional k, M or G for 2^10, 2^20, 2^30: "4k" is 4096.
/// Throws Error for anything else.
std::int64_t parse_size(std::string_view text);

/// A comma-separated list of sizes and geometric ranges: "1k,4k-1M*4" is 1k, 4k, 16k, ... 1M.
/// A range ends at its last value not above the limit. Sorted, each value once.
/// Throws Error when the list is empty or an item cannot be read.
std::vector<std::int64_t> parse_sizes(std::string_view text);

/// The shortest exact form: 4096 is "4k", 1000 is "1000".
std::string format_size(std::int64_t tokens);

/// Bytes with three digits and a binary unit: "1.50 MiB".
std::string format_bytes(std::int64_t bytes);

}  // namespace sala
