// The files beside a tokenizer's own.
// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer_config.h"

#include <algorithm>
#include <charconv>

#include "engine/base/error.h"
#include "engine/base/mapped_file.h"

namespace sala {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

/// The keys of added_tokens_decoder are ids in quotes.
TokenId id_of_key(const JsonFile& file, const std::string& key) {
  TokenId id = -1;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (error != std::errc() || end != key.data() + key.size()) id = -1;
  return file.token_id(id, "added_tokens_decoder['" + key + "']");
}

void read_config(const JsonFile& file, TokenizerConfig& config) {
  if (const json& add_bos = file.member("add_bos_token"); !add_bos.is_null()) {
    config.add_bos = file.flag(file.root, "the file", "add_bos_token", false);
  }
  if (file.flag(file.root, "the file", "add_eos_token", false)) {
    file.refuse("add_eos_token", true, "false: a prompt does not end a text");
  }
  const json* bos = &file.member("bos_token");
  if (bos->is_object()) bos = &file.member(*bos, "bos_token", "content");
  if (!bos->is_null()) config.bos = file.text(*bos, "bos_token");
  const json& decoder = file.member("added_tokens_decoder");
  if (decoder.is_null()) return;
  if (!decoder.is_object()) file.refuse("added_tokens_decoder", decoder, "an object");
  for (const auto& [key, token] : decoder.items()) {
    config.added.push_back(
        read_added_token(file, token, "added_tokens_decoder['" + key + "']", id_of_key(file, key)));
  }
}

void read_added(const JsonFile& file, TokenizerConfig& config) {
  if (!file.root.is_object()) file.refuse("the file", file.root, "an object of ids by token");
  for (const auto& [content, value] : file.root.items()) {
    if (content.empty()) throw Error(file.where, "names a token without text");
    const TokenId id = file.token_id(value, "'" + content + "'");
    const bool is_known = std::any_of(config.added.begin(), config.added.end(),
                                      [&](const AddedToken& known) { return known.id == id; });
    if (!is_known) config.added.push_back({.id = id, .content = content});
  }
}

}  // namespace

AddedToken read_added_token(const JsonFile& file, const json& token, const std::string& field,
                            TokenId id) {
  AddedToken added{.id = id,
                   .content = file.text(file.member(token, field, "content"), field + ".content"),
                   .single_word = file.flag(token, field, "single_word", false),
                   .lstrip = file.flag(token, field, "lstrip", false),
                   .rstrip = file.flag(token, field, "rstrip", false),
                   .normalized = file.flag(token, field, "normalized",
                                           !file.flag(token, field, "special", false))};
  if (added.content.empty()) throw Error(file.where, "{}.content is empty", field);
  return added;
}

std::optional<TokenId> TokenizerConfig::bos_id(const std::vector<AddedToken>& known,
                                               std::optional<TokenId> by_default) const {
  if (!add_bos.value_or(by_default.has_value())) return std::nullopt;
  if (!bos) {
    if (by_default) return by_default;
    throw Error(where, "add_bos_token is true but bos_token is missing");
  }
  for (const AddedToken& token : known) {
    if (token.content == *bos) return token.id;
  }
  throw Error(where, "bos_token '{}' is not among the added tokens", *bos);
}

TokenizerConfig read_tokenizer_config(const fs::path& model_folder) {
  TokenizerConfig config;
  const auto read = [&](const char* name, const auto& reader) {
    const fs::path path = model_folder / name;
    if (!file_exists(path)) return;
    const std::string text = read_checkpoint_text(path);
    config.bytes += text;
    reader(JsonFile(path, text), config);
  };
  config.where = (model_folder / "tokenizer_config.json").string();
  read("tokenizer_config.json", read_config);
  read("added_tokens.json", read_added);
  return config;
}

}  // namespace sala
