// Bytes as tokens, for configurations that come without a tokenizer.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "engine/text/tokenizer.h"

namespace sala {

/// Token i is byte i; ids from 256 up have no text and decode to nothing. Meant for random weights,
/// where lengths count and words do not. vocab_size: of the model, at least 256.
std::unique_ptr<Tokenizer> make_byte_tokenizer(std::int64_t vocab_size);

}  // namespace sala
