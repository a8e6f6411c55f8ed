// The tokenizer that counts words, used to reproduce published data sets.
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/error.h"
#include "engine/base/utf8.h"
#include "engine/text/check_text.h"
#include "engine/text/tokenizer.h"

namespace sala {
namespace {

/// Every word is token 0: only counts and offsets mean something.
class WhitespaceTokenizer : public Tokenizer {
 public:
  Encoding encode(std::string_view text) const override {
    check_text(text);
    Encoding out;
    bool in_word = false;
    for (std::size_t at = 0; at < text.size();) {
      const auto start = static_cast<std::int64_t>(at);
      const bool is_word = !is_white_space(next_code_point(text, at));
      if (is_word && !in_word) out.begin.push_back(start);
      in_word = is_word;
    }
    out.ids.resize(out.begin.size());
    return out;
  }

  std::string decode(std::span<const TokenId> /*ids*/) const override {
    throw Error("tokenizer", "the whitespace tokenizer counts words and cannot decode");
  }

  std::int64_t vocab_size() const override { return 1; }
  std::optional<TokenId> bos() const override { return std::nullopt; }
  const std::string& sha256() const override { return name_; }

 private:
  std::string name_ = "whitespace";
};

}  // namespace

std::unique_ptr<Tokenizer> make_whitespace_tokenizer() {
  return std::make_unique<WhitespaceTokenizer>();
}

}  // namespace sala
