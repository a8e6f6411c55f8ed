// Text to token ids and back.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/token.h"

namespace sala {

/// Token ids and, for each, the byte of the text where it, or the character it is part of, begins.
struct Encoding {
  std::vector<TokenId> ids;
  std::vector<std::int64_t> begin;
};

/// Constant after load; may be shared between threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// Ids of UTF-8 text. Adds no BOS; the strings of special tokens become those tokens.
  /// Throws Error when the text is not valid UTF-8.
  virtual Encoding encode(std::string_view text) const = 0;
  /// The exact bytes of the ids, without the space that some vocabularies put in front of a text.
  /// Throws Error for an id outside the vocabulary.
  virtual std::string decode(std::span<const TokenId> ids) const = 0;
  virtual std::int64_t vocab_size() const = 0;
  /// Token that begins every prompt, when the model's configuration asks for one.
  virtual std::optional<TokenId> bos() const = 0;
  /// Identifies the files: lower-case hex.
  virtual const std::string& sha256() const = 0;

  /// Number of tokens of a text, BOS not counted.
  std::int64_t count(std::string_view text) const {
    return static_cast<std::int64_t>(encode(text).ids.size());
  }
};

bool has_tokenizer(const std::filesystem::path& model_folder);

/// Loads `tokenizer.json` of a model folder (byte-level or SentencePiece-style BPE) or, where there
/// is none, `tokenizer.model`. Throws Error naming what is missing, broken or not supported.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& model_folder);

/// Counts maximal runs of non-white-space, the tokenizer of RULER's golden files. decode() throws.
std::unique_ptr<Tokenizer> make_whitespace_tokenizer();

}  // namespace sala
