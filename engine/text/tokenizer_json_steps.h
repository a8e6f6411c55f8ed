// The normalizer, pre_tokenizer and decoder of a tokenizer.json.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/text/detokenizer.h"
#include "engine/text/json_file.h"
#include "engine/text/pre_tokenizer.h"
#include "engine/text/rewrite.h"

namespace sala {

std::vector<Rewrite> read_normalizer(const JsonFile& file);

struct PreTokenizerSteps {
  std::vector<Rewrite> prefixes;
  PreTokenizer splits;
  bool byte_level = false;
};
PreTokenizerSteps read_pre_tokenizer(const JsonFile& file);

struct DecoderSteps {
  bool byte_level = false;
  bool byte_fallback = false;      // <0x00> to <0xFF> are bytes
  std::optional<Replace> replace;  // in every token
  LeadingSpace leading = LeadingSpace::keep;
};
DecoderSteps read_decoder(const JsonFile& file);

}  // namespace sala
