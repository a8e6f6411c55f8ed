// What every tokenizer asks of a text.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

#include "engine/base/error.h"
#include "engine/base/utf8.h"

namespace sala {

/// Throws Error when the text is not valid UTF-8, naming the first bad byte, or 2 GiB or longer.
inline void check_text(std::string_view text) {
  if (text.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
    throw Error("tokenizer", "the text has {} bytes, expected less than 2 GiB", text.size());
  }
  if (const std::size_t bad = find_invalid_utf8(text); bad != std::string_view::npos) {
    throw Error("tokenizer", "the text is not valid UTF-8 at byte {} (0x{:02X})", bad,
                static_cast<unsigned char>(text[bad]));
  }
}

}  // namespace sala
