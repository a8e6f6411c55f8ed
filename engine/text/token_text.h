// What the names of tokens in SentencePiece-style vocabularies stand for.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sala {

/// The byte of a token such as <0x0A>; nothing for any other.
std::optional<char> byte_of_token(std::string_view token);

/// The text with every `from`, which is not empty, replaced.
std::string substitute(std::string_view text, std::string_view from, std::string_view to);

}  // namespace sala
