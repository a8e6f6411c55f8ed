// The library encodes word by word where that changes nothing, so that words are encoded once.
// SPDX-License-Identifier: Apache-2.0
#include "engine/text/sentencepiece_tokenizer.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <future>
#include <thread>

#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "engine/base/sha256.h"
#include "engine/text/added_tokens.h"
#include "engine/text/check_text.h"
#include "engine/text/detokenizer.h"
#include "engine/text/piece_cache.h"
#include "engine/text/scratch_pool.h"
#include "engine/text/token_text.h"
#include "engine/text/tokenizer_config.h"

namespace sala {
namespace {

namespace fs = std::filesystem;
using sentencepiece::SentencePieceProcessor;

constexpr std::size_t kPartBytes = 1 << 18;   // of a text, for a thread of its own
constexpr std::string_view kMark = "\u2581";  // stands for a space

/// The pieces of a text, one after the other.
std::string spelled(const SentencePieceProcessor& processor, std::string_view text) {
  std::string joined;
  const auto encoded = processor.EncodeAsImmutableProto({text.data(), text.size()});
  for (const auto& piece : encoded.pieces()) joined += piece.piece();
  return joined;
}

/// Whether words may be encoded one by one, each with the space before it: the library puts a space
/// in front of every text, keeps all others, and no piece reaches from one word into the next.
bool has_separable_words(const SentencePieceProcessor& processor) {
  const std::string mark(kMark);
  if (spelled(processor, "a") != mark + "a" || spelled(processor, " a") != mark + mark + "a" ||
      spelled(processor, "a a  a") != mark + "a" + mark + "a" + mark + mark + "a") {
    return false;
  }
  for (int id = 0; id < processor.GetPieceSize(); ++id) {
    const std::string& piece = processor.IdToPiece(id);
    for (std::size_t at = piece.find(kMark); at != std::string::npos;
         at = piece.find(kMark, at + 1)) {
      if (at > 0 && !std::string_view(piece).substr(0, at).ends_with(kMark)) return false;
    }
  }
  return true;
}

std::string bytes_of(const SentencePieceProcessor& processor, int id) {
  const std::string& piece = processor.IdToPiece(id);
  const auto byte = processor.IsByte(id) ? byte_of_token(piece) : std::nullopt;
  return byte ? std::string(1, *byte) : substitute(piece, kMark, " ");
}

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(std::unique_ptr<SentencePieceProcessor> processor, AddedTokens added,
                         Detokenizer detokenizer, std::optional<TokenId> bos, std::string sha256)
      : processor_(std::move(processor)),
        has_separable_words_(has_separable_words(*processor_)),
        added_(std::move(added)),
        detokenizer_(std::move(detokenizer)),
        bos_(bos),
        sha256_(std::move(sha256)) {}

  Encoding encode(std::string_view text) const override {
    check_text(text);
    Encoding out;
    scratch_.with([&](Scratch& scratch) {
      for (const auto& part : added_.split(text, scratch.regex)) {
        if (part.token == nullptr) {
          encode_plain(text.substr(part.begin, part.end - part.begin), part.begin, out, scratch);
        } else {
          out.ids.push_back(part.token->id);
          out.begin.push_back(static_cast<std::int64_t>(part.begin));
        }
      }
    });
    return out;
  }
  std::string decode(std::span<const TokenId> ids) const override { return detokenizer_(ids); }
  std::int64_t vocab_size() const override {
    return static_cast<std::int64_t>(detokenizer_.size());
  }
  std::optional<TokenId> bos() const override { return bos_; }
  const std::string& sha256() const override { return sha256_; }

 private:
  struct Scratch {
    RegexScratch regex;
    PieceCache cache;
    std::vector<SizedToken> tokens;
  };

  /// The first end of a word that is not before `from` > 0. The space behind it stays with the next
  /// word, which must have more than that.
  std::size_t word_end(std::string_view text, std::size_t from = 1) const {
    if (!has_separable_words_) return text.size();
    // The library takes its mark in a text for another space.
    const auto is_behind_word = [&](std::size_t at) {
      return text[at - 1] != ' ' && !text.substr(0, at).ends_with(kMark);
    };
    for (std::size_t at = text.find(' ', from); at < text.size() - 1; at = text.find(' ', at + 1)) {
      if (is_behind_word(at)) return at;
    }
    return text.size();
  }

  void encode_plain(std::string_view text, std::size_t base, Encoding& out,
                    Scratch& scratch) const {
    const std::size_t most = std::max(std::thread::hardware_concurrency(), 1U);
    const std::size_t n_parts = std::clamp<std::size_t>(text.size() / kPartBytes, 1, most);
    const auto part_end = [&](std::size_t i) {
      return i + 1 < n_parts ? word_end(text, (i + 1) * text.size() / n_parts) : text.size();
    };
    std::vector<std::future<std::vector<SizedToken>>> later_parts;
    for (std::size_t i = 1; i < n_parts; ++i) {
      const std::size_t begin = part_end(i - 1);
      later_parts.push_back(
          std::async(std::launch::async, [this, part = text.substr(begin, part_end(i) - begin)] {
            std::vector<SizedToken> tokens;
            scratch_.with([&](Scratch& own) { encode_words(part, own.cache, tokens); });
            return tokens;
          }));
    }

    const std::string_view first_part = text.substr(0, part_end(0));
    const std::size_t first = word_end(first_part);
    scratch.tokens.clear();
    call_library(first_part.substr(0, first), 0, scratch.tokens);
    encode_words(first_part.substr(first), scratch.cache, scratch.tokens);
    append(scratch.tokens, base, out);
    for (auto& part : later_parts) append(part.get(), base, out);
  }

  static void append(const std::vector<SizedToken>& tokens, std::size_t& base, Encoding& out) {
    for (const SizedToken& token : tokens) {
      out.ids.push_back(token.id);
      out.begin.push_back(static_cast<std::int64_t>(base));
      base += token.size;
    }
  }

  /// Appends the tokens of words that each have a space before them.
  void encode_words(std::string_view text, PieceCache& cache,
                    std::vector<SizedToken>& tokens) const {
    while (!text.empty()) {
      const std::size_t size = word_end(text);
      cache.append(text.substr(0, size), tokens,
                   [&](std::string_view word, std::vector<SizedToken>& more) {
                     call_library(word.substr(1), 1, more);
                   });
      text.remove_prefix(size);
    }
  }

  /// Appends the tokens of a text; the first also stands for `extra` bytes before it.
  void call_library(std::string_view text, std::uint32_t extra,
                    std::vector<SizedToken>& tokens) const {
    const auto encoded = processor_->EncodeAsImmutableProto({text.data(), text.size()});
    const std::size_t n = encoded.pieces_size();
    for (std::size_t i = 0; i < n; ++i) {
      const auto piece = encoded.pieces(static_cast<int>(i));
      const std::size_t end =
          i + 1 < n ? encoded.pieces(static_cast<int>(i + 1)).begin() : text.size();
      const auto size = static_cast<std::uint32_t>(end - (i == 0 ? 0 : piece.begin()));
      tokens.push_back({static_cast<TokenId>(piece.id()), size + (i == 0 ? extra : 0)});
    }
  }

  std::unique_ptr<SentencePieceProcessor> processor_;
  bool has_separable_words_;
  AddedTokens added_;
  Detokenizer detokenizer_;
  std::optional<TokenId> bos_;
  std::string sha256_;
  mutable ScratchPool<Scratch> scratch_;
};

}  // namespace

std::unique_ptr<Tokenizer> load_sentencepiece(const fs::path& model_folder) {
  const fs::path path = model_folder / "tokenizer.model";
  const std::string bytes = read_checkpoint_text(path);
  auto processor = std::make_unique<SentencePieceProcessor>();
  if (const auto status = processor->LoadFromSerializedProto(bytes); !status.ok()) {
    throw Error(path.string(), "sentencepiece cannot load it: {}", status.ToString());
  }
  const TokenizerConfig config = read_tokenizer_config(model_folder);

  std::vector<AddedToken> added = config.added;
  std::vector<std::optional<Detokenizer::Token>> tokens;
  for (int id = 0; id < processor->GetPieceSize(); ++id) {
    const bool is_added = processor->IsControl(id) || processor->IsUnknown(id);
    tokens.push_back(Detokenizer::Token{
        is_added ? processor->IdToPiece(id) : bytes_of(*processor, id), is_added});
    const bool is_known = std::any_of(added.begin(), added.end(),
                                      [&](const AddedToken& token) { return token.id == id; });
    if (is_added && !is_known) added.push_back({.id = id, .content = processor->IdToPiece(id)});
  }
  for (const AddedToken& token : config.added) {
    const auto index = static_cast<std::size_t>(token.id);
    if (index >= tokens.size()) tokens.resize(index + 1);
    tokens[index] = Detokenizer::Token{token.content, true};
  }
  const int bos = processor->bos_id();
  const auto bos_id = config.bos_id(added, bos >= 0 ? std::optional<TokenId>(bos) : std::nullopt);
  const bool puts_space = spelled(*processor, "a").starts_with(kMark);
  Detokenizer detokenizer(std::move(tokens),
                          puts_space ? LeadingSpace::drop_one : LeadingSpace::keep, puts_space);
  return std::make_unique<SentencePieceTokenizer>(std::move(processor), AddedTokens(added),
                                                  std::move(detokenizer), bos_id,
                                                  sha256_hex(bytes + config.bytes));
}

}  // namespace sala
