// Hugging Face's tokenizer.json.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>

#include "engine/text/tokenizer.h"

namespace sala {

/// Loads tokenizer.json and what lies beside it in a model folder. Throws Error naming the part
/// that is broken or not supported.
std::unique_ptr<Tokenizer> load_tokenizer_json(const std::filesystem::path& model_folder);

}  // namespace sala
