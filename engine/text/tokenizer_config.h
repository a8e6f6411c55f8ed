// What tokenizer_config.json and added_tokens.json add to a tokenizer's own file.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/added_tokens.h"
#include "engine/text/json_file.h"

namespace sala {

/// One entry of an `added_tokens` list; its id is given.
AddedToken read_added_token(const JsonFile& file, const nlohmann::json& token,
                            const std::string& field, TokenId id);

struct TokenizerConfig {
  std::string where;
  std::optional<bool> add_bos;
  std::optional<std::string> bos;
  std::vector<AddedToken> added;
  std::string bytes;  // of the files that were there

  /// The id of the BOS token, when one belongs in front of every prompt: if add_bos says so or,
  /// where it is not given, if `by_default` has a value; that is used when no bos is named. Throws
  /// Error for a token that is not in `added`.
  std::optional<TokenId> bos_id(const std::vector<AddedToken>& known,
                                std::optional<TokenId> by_default) const;
};

/// Reads the two files of a model folder; absent ones say nothing.
TokenizerConfig read_tokenizer_config(const std::filesystem::path& model_folder);

}  // namespace sala
