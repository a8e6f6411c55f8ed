// Reads Hugging Face's tokenizer.json and tokenizer_config.json; refuses by name what it cannot do.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "engine/base/sha256.h"
#include "engine/base/utf8.h"
#include "engine/text/byte_level_tokenizer.h"

namespace sala {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

using Tokens = std::vector<std::optional<std::string>>;

constexpr TokenId kMaxId = 1 << 24;
constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// A file's JSON with the path that its errors name.
struct File {
  std::string where;
  json root;
};

File parse(const fs::path& path, const std::string& text) {
  try {
    return {path.string(), json::parse(text)};
  } catch (const json::parse_error& error) {
    throw Error(path.string(), "not valid JSON at byte {}; the file may be cut short", error.byte);
  }
}

/// The member, or null when it is absent; throws when `object` is no JSON object.
const json& member(const File& file, const json& object, const std::string& field,
                   const char* key) {
  static const json kNull;
  if (!object.is_object()) {
    throw Error(file.where, "{} is {}, expected an object", field, object.type_name());
  }
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

std::string text_of(const File& file, const json& value, const std::string& field) {
  if (!value.is_string()) {
    throw Error(file.where, "{} is {}, expected a string", field, value.type_name());
  }
  return value.get<std::string>();
}

bool flag(const File& file, const json& object, const std::string& field, const char* key,
          bool absent) {
  const json& value = member(file, object, field, key);
  if (value.is_null()) return absent;
  if (!value.is_boolean()) {
    throw Error(file.where, "{}.{} is {}, expected true or false", field, key, value.type_name());
  }
  return value.get<bool>();
}

TokenId token_id(const File& file, const json& value, const std::string& field) {
  if (!value.is_number_integer() || value < 0 || value >= kMaxId) {
    throw Error(file.where, "{} is {}, expected a token id from 0 to {}", field, value.dump(),
                kMaxId - 1);
  }
  return value.get<TokenId>();
}

[[noreturn]] void refuse(const File& file, const std::string& field, const json& value,
                         const char* expected) {
  throw Error(file.where, "{} {} is not supported, expected {}", field,
              value.is_string() ? value.get<std::string>() : value.dump(), expected);
}

/// Code points that stand for bytes in byte-level vocabularies: printable bytes for themselves,
/// the other 68 as U+0100 and up, in order.
int byte_of(char32_t c) {
  static const auto table = [] {
    std::array<int, 0x144> bytes{};
    bytes.fill(-1);
    std::size_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      bytes[printable ? static_cast<std::size_t>(b) : next++] = b;
    }
    return bytes;
  }();
  return c < table.size() ? table[c] : -1;
}

/// The bytes that a vocabulary entry stands for; an entry that is no byte string stands for itself.
std::string bytes_of(std::string_view token) {
  std::string bytes;
  for (std::size_t at = 0; at < token.size();) {
    const int byte = byte_of(next_code_point(token, at));
    if (byte < 0) return std::string(token);
    bytes.push_back(static_cast<char>(byte));
  }
  return bytes;
}

void set_token(const File& file, Tokens& tokens, TokenId id, std::string bytes,
               const std::string& field) {
  const auto index = static_cast<std::size_t>(id);
  if (index >= tokens.size()) tokens.resize(index + 1);
  if (tokens[index]) throw Error(file.where, "{} gives id {} a second time", field, id);
  tokens[index] = std::move(bytes);
}

std::pair<std::string, std::string> merge_of(const File& file, const json& merge,
                                             std::size_t rank) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {bytes_of(merge[0].get<std::string>()), bytes_of(merge[1].get<std::string>())};
  }
  if (merge.is_string()) {
    const auto text = merge.get<std::string>();
    const std::size_t space = text.find(' ');
    if (space != std::string::npos && space != 0 && space + 1 < text.size() &&
        text.find(' ', space + 1) == std::string::npos) {
      return {bytes_of(text.substr(0, space)), bytes_of(text.substr(space + 1))};
    }
  }
  throw Error(file.where, "model.merges[{}] is {}, expected \"a b\" or [\"a\", \"b\"]", rank,
              merge.dump());
}

BpeModel read_model(const File& file, Tokens& tokens, const json& model) {
  // The oldest files leave the type out; they are all BPE.
  const json& type = member(file, model, "model", "type");
  if (!type.is_null() && type != "BPE") refuse(file, "model.type", type, "BPE");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const json& value = member(file, model, "model", key);
    const bool is_absent =
        value.is_null() || (value.is_string() && value.get_ref<const std::string&>().empty());
    if (!is_absent) refuse(file, std::string("model.") + key, value, "null");
  }
  if (const json& dropout = member(file, model, "model", "dropout");
      !dropout.is_null() && dropout != 0) {
    refuse(file, "model.dropout", dropout, "null");
  }
  if (flag(file, model, "model", "byte_fallback", false)) {
    refuse(file, "model.byte_fallback", true, "false (a byte-level vocabulary)");
  }

  const json& vocab = member(file, model, "model", "vocab");
  if (!vocab.is_object()) {
    throw Error(file.where, "model.vocab is {}, expected an object", vocab.type_name());
  }
  TokenMap ids;
  for (const auto& [token, value] : vocab.items()) {
    const std::string field = "model.vocab['" + token + "']";
    const TokenId id = token_id(file, value, field);
    set_token(file, tokens, id, bytes_of(token), field);
    ids.emplace(bytes_of(token), id);
  }

  const json& merges = member(file, model, "model", "merges");
  if (!merges.is_array()) {
    throw Error(file.where, "model.merges is {}, expected an array", merges.type_name());
  }
  std::vector<std::pair<std::string, std::string>> pairs;
  pairs.reserve(merges.size());
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    pairs.push_back(merge_of(file, merges[rank], rank));
  }
  return {file.where, std::move(ids), pairs, flag(file, model, "model", "ignore_merges", false)};
}

void read_added_tokens(const File& file, ByteLevelParts& parts) {
  const json& added = member(file, file.root, "the file", "added_tokens");
  if (added.is_null()) return;
  if (!added.is_array()) {
    throw Error(file.where, "added_tokens is {}, expected an array", added.type_name());
  }
  for (std::size_t i = 0; i < added.size(); ++i) {
    const std::string field = fmt::format("added_tokens[{}]", i);
    const json& token = added[i];
    for (const char* key : {"single_word", "lstrip", "rstrip"}) {
      if (flag(file, token, field, key, false)) refuse(file, field + "." + key, true, "false");
    }
    const TokenId id = token_id(file, member(file, token, field, "id"), field + ".id");
    std::string content = text_of(file, member(file, token, field, "content"), field + ".content");
    if (content.empty()) throw Error(file.where, "{}.content is empty", field);
    const auto index = static_cast<std::size_t>(id);
    if (index < parts.tokens.size()) parts.tokens[index].reset();  // usually in the vocabulary too
    set_token(file, parts.tokens, id, content, field);
    parts.added.emplace_back(std::move(content), id);
  }
}

void read_pre_tokenizer(const File& file, ByteLevelParts& parts, const json& step,
                        const std::string& field) {
  if (step.is_null()) return;
  const json& type = member(file, step, field, "type");
  if (type == "Sequence") {
    const json& steps = member(file, step, field, "pretokenizers");
    if (!steps.is_array()) {
      throw Error(file.where, "{}.pretokenizers is {}, expected an array", field,
                  steps.type_name());
    }
    for (std::size_t i = 0; i < steps.size(); ++i) {
      read_pre_tokenizer(file, parts, steps[i], fmt::format("{}.pretokenizers[{}]", field, i));
    }
  } else if (type == "ByteLevel") {
    if (flag(file, step, field, "add_prefix_space", true)) parts.add_prefix_space = true;
    if (flag(file, step, field, "use_regex", true)) {
      parts.pre_tokenizer.isolate(Regex(file.where, kGpt2Pattern));
    }
  } else if (type == "Digits") {
    const bool individual = flag(file, step, field, "individual_digits", false);
    parts.pre_tokenizer.isolate(Regex(file.where, individual ? R"(\p{N})" : R"(\p{N}+)"));
  } else if (type == "Split") {
    const json& behavior = member(file, step, field, "behavior");
    if (behavior != "Isolated") refuse(file, field + ".behavior", behavior, "Isolated");
    if (flag(file, step, field, "invert", false)) refuse(file, field + ".invert", true, "false");
    const json& pattern = member(file, step, field, "pattern");
    if (const json& regex = member(file, pattern, field + ".pattern", "Regex"); !regex.is_null()) {
      parts.pre_tokenizer.isolate(
          Regex(file.where, text_of(file, regex, field + ".pattern.Regex")));
    } else {
      std::string literal = text_of(file, member(file, pattern, field + ".pattern", "String"),
                                    field + ".pattern.String");
      if (literal.empty()) throw Error(file.where, "{}.pattern.String is empty", field);
      parts.pre_tokenizer.isolate(std::move(literal));
    }
  } else {
    refuse(file, field + ".type", type, "ByteLevel, Split, Digits or Sequence");
  }
}

void check_decoder(const File& file, const json& decoder, const std::string& field) {
  const json& type = member(file, decoder, field, "type");
  if (type == "Sequence") {
    const json& steps = member(file, decoder, field, "decoders");
    for (std::size_t i = 0; i < steps.size(); ++i) {
      check_decoder(file, steps[i], fmt::format("{}.decoders[{}]", field, i));
    }
  } else if (type != "ByteLevel") {
    refuse(file, field + ".type", type, "ByteLevel");
  }
}

/// The token that a post-processor puts in front of a text.
std::optional<TokenId> bos_of(const File& file, const json& processor, const std::string& field) {
  if (processor.is_null()) return std::nullopt;
  const json& type = member(file, processor, field, "type");
  if (type == "ByteLevel") return std::nullopt;
  if (type == "Sequence") {
    std::optional<TokenId> bos;
    const json& steps = member(file, processor, field, "processors");
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const auto found = bos_of(file, steps[i], fmt::format("{}.processors[{}]", field, i));
      if (found) bos = found;
    }
    return bos;
  }
  if (type != "TemplateProcessing") {
    refuse(file, field + ".type", type, "ByteLevel, TemplateProcessing or Sequence");
  }
  const json& single = member(file, processor, field, "single");
  const std::size_t n = single.size();
  const auto is = [&](std::size_t i, const char* kind) {
    return single[i].is_object() && single[i].contains(kind);
  };
  const bool plain = single.is_array() && n == 1 && is(0, "Sequence");
  const bool with_bos = single.is_array() && n == 2 && is(0, "SpecialToken") && is(1, "Sequence");
  if (plain) return std::nullopt;
  if (!with_bos) {
    refuse(file, field + ".single", single, "the text alone or one special token before it");
  }
  const json& name = member(file, single[0]["SpecialToken"], field + ".single[0]", "id");
  const std::string key = text_of(file, name, field + ".single[0].SpecialToken.id");
  const json& specials = member(file, processor, field, "special_tokens");
  const json& special = member(file, specials, field + ".special_tokens", key.c_str());
  const json& ids = member(file, special, field + ".special_tokens." + key, "ids");
  if (!ids.is_array() || ids.size() != 1) {
    refuse(file, field + ".special_tokens." + key + ".ids", ids, "one id");
  }
  return token_id(file, ids[0], field + ".special_tokens." + key + ".ids[0]");
}

/// tokenizer_config.json's add_bos_token, where it is given, overrules the post-processor.
std::optional<TokenId> configured_bos(const File& config, const ByteLevelParts& parts,
                                      std::optional<TokenId> from_processor) {
  if (!flag(config, config.root, "the file", "add_bos_token", from_processor.has_value())) {
    return std::nullopt;
  }
  const json* bos = &member(config, config.root, "the file", "bos_token");
  if (bos->is_null() && from_processor) return from_processor;
  if (bos->is_object()) bos = &member(config, *bos, "bos_token", "content");
  const std::string content = text_of(config, *bos, "bos_token");
  for (const auto& [added, id] : parts.added) {
    if (added == content) return id;
  }
  throw Error(config.where, "bos_token '{}' is not among added_tokens of tokenizer.json", content);
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& model_folder) {
  const fs::path path = model_folder / "tokenizer.json";
  if (!fs::exists(path)) {
    throw Error(path.string(),
                "no such file; a model folder needs the tokenizer.json of a byte-level BPE");
  }
  std::string bytes = read_text_file(path);
  const File file = parse(path, bytes);

  if (const json& normalizer = member(file, file.root, "the file", "normalizer");
      !normalizer.is_null()) {
    refuse(file, "normalizer.type", member(file, normalizer, "normalizer", "type"),
           "no normalizer");
  }
  Tokens tokens;
  BpeModel bpe = read_model(file, tokens, member(file, file.root, "the file", "model"));
  ByteLevelParts parts{.bpe = std::move(bpe), .tokens = std::move(tokens)};
  read_added_tokens(file, parts);
  read_pre_tokenizer(file, parts, member(file, file.root, "the file", "pre_tokenizer"),
                     "pre_tokenizer");
  check_decoder(file, member(file, file.root, "the file", "decoder"), "decoder");
  parts.bos = bos_of(file, member(file, file.root, "the file", "post_processor"), "post_processor");

  const fs::path config_path = model_folder / "tokenizer_config.json";
  if (fs::exists(config_path)) {
    const std::string config = read_text_file(config_path);
    parts.bos = configured_bos(parse(config_path, config), parts, parts.bos);
    bytes += config;
  }
  parts.sha256 = sha256_hex(bytes);
  return std::make_unique<ByteLevelTokenizer>(std::move(parts));
}

}  // namespace sala
