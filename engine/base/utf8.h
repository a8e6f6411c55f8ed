// UTF-8 checks and white space as Python sees it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

namespace sala {

/// Byte offset where the first malformed sequence begins; npos when the text is valid UTF-8.
/// Overlong forms, surrogates and code points above U+10FFFF are malformed.
std::size_t find_invalid_utf8(std::string_view text);

/// Decodes the code point at byte `at` and moves `at` behind it; a byte that is not part of a valid
/// sequence counts as U+FFFD.
char32_t next_code_point(std::string_view text, std::size_t& at);

/// The 29 code points of Python's str.isspace.
bool is_white_space(char32_t code_point);

/// The text without white space at both ends, like Python's str.strip.
std::string_view strip(std::string_view text);

}  // namespace sala
