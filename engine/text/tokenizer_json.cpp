// Reads Hugging Face's tokenizer.json; refuses by name what it cannot do.
// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer_json.h"

#include <algorithm>
#include <array>
#include <string>

#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "engine/base/sha256.h"
#include "engine/base/utf8.h"
#include "engine/text/bpe_tokenizer.h"
#include "engine/text/token_text.h"
#include "engine/text/tokenizer_config.h"
#include "engine/text/tokenizer_json_steps.h"

namespace sala {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

using Tokens = std::vector<std::optional<Detokenizer::Token>>;

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

/// The bytes that a byte-level vocabulary entry stands for; nothing when it is no byte string.
std::optional<std::string> bytes_of(std::string_view token) {
  std::string bytes;
  for (std::size_t at = 0; at < token.size();) {
    const int byte = byte_of(next_code_point(token, at));
    if (byte < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte));
  }
  return bytes;
}

class Reader {
 public:
  explicit Reader(const fs::path& model_folder)
      : path_(model_folder / "tokenizer.json"),
        text_(read_checkpoint_text(path_)),
        file_(path_, text_),
        config_(read_tokenizer_config(model_folder)),
        normalizer_(read_normalizer(file_)),
        pre_tokenizer_(read_pre_tokenizer(file_)),
        decoder_(read_decoder(file_)) {}

  std::unique_ptr<Tokenizer> read() {
    BpeModel bpe = read_model(file_.member("model"));
    check_decoder();
    read_added_tokens();
    std::vector<AddedToken> raw;
    std::vector<AddedToken> normalized;
    std::vector<std::string> patterns;
    for (const AddedToken& token : added_) {
      (token.normalized ? normalized : raw).push_back(token);
      if (token.normalized) patterns.push_back(pattern_of(token));
    }
    const auto bos = config_.bos_id(added_, bos_of_processor());
    if (bos && (static_cast<std::size_t>(*bos) >= tokens_.size() ||
                !tokens_[static_cast<std::size_t>(*bos)])) {
      throw Error(file_.where, "post_processor begins prompts with id {}, which no token has",
                  *bos);
    }
    return std::make_unique<BpeTokenizer>(
        BpeTokenizerParts{.added = AddedTokens(raw),
                          .normalizer = normalizer_,
                          .normalized_added = AddedTokens(std::move(normalized), patterns),
                          .prefixes = pre_tokenizer_.prefixes,
                          .pre_tokenizer = std::move(pre_tokenizer_.splits),
                          .bpe = std::move(bpe),
                          .detokenizer = {std::move(tokens_), decoder_.leading, puts_space()},
                          .bos = bos,
                          .sha256 = sha256_hex(text_ + config_.bytes)});
  }

 private:
  /// Whether every stretch between added tokens gets a space in front, not only the first.
  bool puts_space() const {
    const auto always = [](const Rewrite& step) {
      const auto* prepend = std::get_if<Prepend>(&step);
      return prepend != nullptr && !prepend->at_start_only;
    };
    return decoder_.leading != LeadingSpace::keep &&
           (std::any_of(normalizer_.begin(), normalizer_.end(), always) ||
            std::any_of(pre_tokenizer_.prefixes.begin(), pre_tokenizer_.prefixes.end(), always));
  }

  /// What the merges know a vocabulary entry as.
  std::string unit_text(std::string_view entry) const {
    if (!pre_tokenizer_.byte_level) return std::string(entry);
    return bytes_of(entry).value_or(std::string(entry));
  }

  std::string with_spaces(std::string_view text) const {
    const auto& replace = decoder_.replace;
    return replace ? substitute(text, replace->from, replace->to) : std::string(text);
  }

  /// What a vocabulary entry is decoded to.
  std::string decoded(std::string_view entry) const {
    if (decoder_.byte_level) return unit_text(entry);
    if (const auto byte = byte_of_token(entry)) return {*byte};
    return with_spaces(entry);
  }

  void set_token(TokenId id, Detokenizer::Token token, const std::string& field) {
    const auto index = static_cast<std::size_t>(id);
    if (index >= tokens_.size()) tokens_.resize(index + 1);
    if (tokens_[index]) throw Error(file_.where, "{} gives id {} a second time", field, id);
    tokens_[index] = std::move(token);
  }

  std::pair<std::string, std::string> merge_of(const json& merge, std::size_t rank) const {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      return {unit_text(merge[0].get<std::string>()), unit_text(merge[1].get<std::string>())};
    }
    if (merge.is_string()) {
      const auto text = merge.get<std::string>();
      const std::size_t space = text.find(' ');
      if (space != std::string::npos && space != 0 && space + 1 < text.size() &&
          text.find(' ', space + 1) == std::string::npos) {
        return {unit_text(text.substr(0, space)), unit_text(text.substr(space + 1))};
      }
    }
    throw Error(file_.where, "model.merges[{}] is {}, expected \"a b\" or [\"a\", \"b\"]", rank,
                merge.dump());
  }

  BpeModel read_model(const json& model) {
    // The oldest files leave the type out; they are all BPE.
    const json& type = file_.member(model, "model", "type");
    if (!type.is_null() && type != "BPE") file_.refuse("model.type", type, "BPE");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      const json& value = file_.member(model, "model", key);
      const std::string field = std::string("model.") + key;
      if (!value.is_null() && !file_.text(value, field).empty()) file_.refuse(field, value, "null");
    }
    const json& dropout = file_.member(model, "model", "dropout");
    if (!dropout.is_null() && dropout != 0) file_.refuse("model.dropout", dropout, "null");
    if (!pre_tokenizer_.byte_level && !file_.flag(model, "model", "byte_fallback", false)) {
      throw Error(
          file_.where,
          "model.byte_fallback is not true and pre_tokenizer has no ByteLevel step; without "
          "either some characters would have no tokens");
    }

    const json& vocab = file_.member(model, "model", "vocab");
    if (!vocab.is_object()) {
      throw Error(file_.where, "model.vocab is {}, expected an object", vocab.type_name());
    }
    TokenMap ids;
    for (const auto& [entry, value] : vocab.items()) {
      const std::string field = "model.vocab['" + entry + "']";
      const TokenId id = file_.token_id(value, field);
      set_token(id, {decoded(entry)}, field);
      // What is no byte string no text can reach.
      if (!pre_tokenizer_.byte_level || bytes_of(entry)) ids.emplace(unit_text(entry), id);
    }
    const json& merges = file_.member(model, "model", "merges");
    file_.expect_array(merges, "model.merges");
    std::vector<std::pair<std::string, std::string>> pairs;
    pairs.reserve(merges.size());
    for (std::size_t rank = 0; rank < merges.size(); ++rank) {
      pairs.push_back(merge_of(merges[rank], rank));
    }
    return {file_.where, pre_tokenizer_.byte_level ? BpeUnits::bytes : BpeUnits::characters,
            std::move(ids), pairs, file_.flag(model, "model", "ignore_merges", false)};
  }

  void check_decoder() const {
    if (decoder_.byte_level != pre_tokenizer_.byte_level) {
      file_.refuse("decoder", file_.member("decoder"),
                   pre_tokenizer_.byte_level ? "ByteLevel, as pre_tokenizer has it"
                                             : "none of ByteLevel, which pre_tokenizer lacks");
    }
    if (!decoder_.byte_level && !decoder_.byte_fallback) {
      file_.refuse("decoder", file_.member("decoder"), "a Sequence with ByteFallback");
    }
  }

  /// What a token that is looked for in normalised text looks like there.
  std::string pattern_of(const AddedToken& token) const {
    std::string pattern = rewrite(normalizer_, {token.content}).text;
    if (!pattern.empty()) return pattern;
    throw Error(file_.where, "normalizer leaves nothing of added token '{}'", token.content);
  }

  void add(AddedToken token, const std::string& field) {
    const json& vocab = file_.root["model"]["vocab"];
    if (const auto known = vocab.find(token.content); known != vocab.end() && *known != token.id) {
      throw Error(file_.where, "{} gives '{}' the id {}, but model.vocab says {}", field,
                  token.content, token.id, known->dump());
    }
    std::string bytes = token.normalized ? pattern_of(token) : token.content;
    if (token.normalized) bytes = with_spaces(bytes);
    const auto index = static_cast<std::size_t>(token.id);
    if (index < tokens_.size()) tokens_[index].reset();  // usually in the vocabulary too
    set_token(token.id, {std::move(bytes), !token.normalized}, field);
    added_.push_back(std::move(token));
  }

  void read_added_tokens() {
    if (const json& list = file_.member("added_tokens"); !list.is_null()) {
      file_.expect_array(list, "added_tokens");
      for (std::size_t i = 0; i < list.size(); ++i) {
        const std::string field = fmt::format("added_tokens[{}]", i);
        const TokenId id = file_.token_id(file_.member(list[i], field, "id"), field + ".id");
        add(read_added_token(file_, list[i], field, id), field);
      }
    }
    const std::size_t n = added_.size();
    for (const AddedToken& token : config_.added) {
      const auto is_same = [&](const AddedToken& known) {
        return known.id == token.id || known.content == token.content;
      };
      const auto end = added_.begin() + static_cast<std::ptrdiff_t>(n);
      if (std::none_of(added_.begin(), end, is_same)) add(token, "added_tokens_decoder");
    }
  }

  /// The token that the post-processor puts in front of a text.
  std::optional<TokenId> bos_of_processor() const {
    std::optional<TokenId> bos;
    file_.for_each_step(file_.member("post_processor"), "post_processor", "processors",
                        [&](const json& processor, const std::string& field) {
                          if (const auto found = bos_of(processor, field)) bos = found;
                        });
    return bos;
  }

  std::optional<TokenId> bos_of(const json& processor, const std::string& field) const {
    const json& type = file_.member(processor, field, "type");
    if (type == "ByteLevel") return std::nullopt;
    if (type != "TemplateProcessing") {
      file_.refuse(field + ".type", type, "ByteLevel, TemplateProcessing or Sequence");
    }
    const json& single = file_.member(processor, field, "single");
    const std::size_t n = single.size();
    const auto is = [&](std::size_t i, const char* kind) {
      return single[i].is_object() && single[i].contains(kind);
    };
    const bool plain = single.is_array() && n == 1 && is(0, "Sequence");
    const bool with_bos = single.is_array() && n == 2 && is(0, "SpecialToken") && is(1, "Sequence");
    if (plain) return std::nullopt;
    if (!with_bos) {
      file_.refuse(field + ".single", single, "the text alone or one special token before it");
    }
    const json& name = file_.member(single[0]["SpecialToken"], field + ".single[0]", "id");
    const std::string key = file_.text(name, field + ".single[0].SpecialToken.id");
    const json& specials = file_.member(processor, field, "special_tokens");
    const json& special = file_.member(specials, field + ".special_tokens", key.c_str());
    const json& ids = file_.member(special, field + ".special_tokens." + key, "ids");
    if (!ids.is_array() || ids.size() != 1) {
      file_.refuse(field + ".special_tokens." + key + ".ids", ids, "one id");
    }
    return file_.token_id(ids[0], field + ".special_tokens." + key + ".ids[0]");
  }

  fs::path path_;
  std::string text_;
  JsonFile file_;
  TokenizerConfig config_;
  std::vector<Rewrite> normalizer_;
  PreTokenizerSteps pre_tokenizer_;
  DecoderSteps decoder_;
  Tokens tokens_;
  std::vector<AddedToken> added_;
};

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer_json(const fs::path& model_folder) {
  return Reader(model_folder).read();
}

}  // namespace sala
