// tokenizer.model files, through the sentencepiece library.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>

#include "engine/text/tokenizer.h"

namespace sala {

/// Loads tokenizer.model and what lies beside it in a model folder. Control pieces and the tokens
/// of added_tokens.json and tokenizer_config.json are cut out of a text before the library sees it.
/// Throws Error when the library refuses the file.
std::unique_ptr<Tokenizer> load_sentencepiece(const std::filesystem::path& model_folder);

}  // namespace sala
