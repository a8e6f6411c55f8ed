// The tokenizer of models that have a config and no words.
// SPDX-License-Identifier: Apache-2.0
#include "engine/byte_tokenizer.h"

#include "engine/base/error.h"
#include "engine/base/sha256.h"
#include "engine/base/utf8.h"

namespace sala {
namespace {

class ByteTokenizer final : public Tokenizer {
 public:
  explicit ByteTokenizer(std::int64_t vocab_size)
      : vocab_size_(vocab_size), sha256_(sha256_hex("byte tokenizer 1")) {}

  Encoding encode(std::string_view text) const override {
    if (const std::size_t at = find_invalid_utf8(text); at != std::string_view::npos) {
      throw Error("tokenizer", "the text is not valid UTF-8 at byte {}", at);
    }
    Encoding encoding;
    encoding.ids.reserve(text.size());
    encoding.begin.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
      encoding.ids.push_back(static_cast<unsigned char>(text[i]));
      encoding.begin.push_back(static_cast<std::int64_t>(i));
    }
    return encoding;
  }

  std::string decode(std::span<const TokenId> ids) const override {
    std::string text;
    for (const TokenId id : ids) {
      if (id < 0 || id >= vocab_size_) {
        throw Error("tokenizer", "token {} is outside the vocabulary of {}", id, vocab_size_);
      }
      if (id < 256) text.push_back(static_cast<char>(id));
    }
    return text;
  }

  std::int64_t vocab_size() const override { return vocab_size_; }
  std::optional<TokenId> bos() const override { return std::nullopt; }
  const std::string& sha256() const override { return sha256_; }

 private:
  std::int64_t vocab_size_;
  std::string sha256_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_byte_tokenizer(std::int64_t vocab_size) {
  if (vocab_size < 256) {
    throw Error("tokenizer", "a vocabulary of {} cannot hold the 256 bytes; add a tokenizer.json",
                vocab_size);
  }
  return std::make_unique<ByteTokenizer>(vocab_size);
}

}  // namespace sala
