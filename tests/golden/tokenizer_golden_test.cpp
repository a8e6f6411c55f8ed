// Ids and texts against the tokenizers and sentencepiece libraries on thousands of strings.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "engine/base/mapped_file.h"
#include "engine/base/utf8.h"
#include "engine/text/tokenizer.h"
#include "tests/tiny_model.h"

namespace sala {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kData = fs::path(SALA_TEST_SOURCE_DIR) / "tests/golden/data/tokenizers";

json read_json(const char* name) {
  return json::parse(read_text_file(kData / name));
}

/// SplitMix64, as in scripts/goldens/small_tokenizers.py.
class SplitMix {
 public:
  explicit SplitMix(std::uint64_t seed) : state_(seed) {}
  std::size_t below(std::size_t n) {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return (z ^ z >> 31) % n;
  }

 private:
  std::uint64_t state_;
};

std::string utf8(std::uint32_t c) {
  const auto put = [](std::uint32_t bits) { return static_cast<char>(bits); };
  if (c < 0x80) return {put(c)};
  if (c < 0x800) return {put(0xC0 | c >> 6), put(0x80 | (c & 0x3F))};
  if (c < 0x10000) {
    return {put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F))};
  }
  return {put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 0x3F)), put(0x80 | (c >> 6 & 0x3F)),
          put(0x80 | (c & 0x3F))};
}

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

/// The strings of the goldens, made as the script makes them.
std::vector<std::string> make_strings(const json& parts) {
  std::vector<std::string> strings;
  for (std::uint64_t index = 0; index < parts["count"]; ++index) {
    SplitMix random(index);
    std::string out;
    const std::size_t n = 1 + random.below(index % 64 == 1 ? 100 : 10);
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t kind = random.below(8);
      if (kind == 0) {
        const json& range = parts["ranges"][random.below(parts["ranges"].size())];
        const std::uint32_t first = range[0];
        const std::uint32_t last = range[1];
        for (std::size_t left = 1 + random.below(3); left > 0; --left) {
          out += utf8(first + static_cast<std::uint32_t>(random.below(last - first + 1)));
        }
      } else if (kind == 1) {
        out.append(1 + random.below(24), ' ');
      } else {
        out += parts["fragments"][random.below(parts["fragments"].size())].get<std::string>();
        if (kind < 5) out += ' ';
      }
    }
    if (index % 32 == 0) {
      const std::size_t at = random.below(out.size() + 1);
      out.insert(at, from_hex(parts["broken"][random.below(parts["broken"].size())]));
    }
    strings.push_back(std::move(out));
  }
  return strings;
}

const std::vector<std::string>& strings() {
  static const std::vector<std::string> made = make_strings(read_json("strings.json"));
  return made;
}

class Fnv16 {
 public:
  void add(unsigned char byte) { hash_ = (hash_ ^ byte) * 0x01000193; }
  std::uint32_t value() const { return hash_ >> 16 ^ (hash_ & 0xFFFF); }

 private:
  std::uint32_t hash_ = 0x811C9DC5;
};

std::uint32_t hash_ids(const std::vector<TokenId>& ids) {
  Fnv16 hash;
  for (const TokenId id : ids) {
    for (int shift = 0; shift < 32; shift += 8) hash.add(static_cast<unsigned char>(id >> shift));
  }
  return hash.value();
}

std::uint32_t hash_text(const std::string& text) {
  Fnv16 hash;
  for (const char c : text) hash.add(static_cast<unsigned char>(c));
  return hash.value();
}

/// Little-endian 16-bit numbers in Base64.
std::vector<std::uint32_t> decode_hashes(const std::string& base64) {
  static const std::string kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t bits = 0;
  int n_bits = 0;
  for (const char c : base64) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<std::uint32_t>(kAlphabet.find(c));
    n_bits += 6;
    if (n_bits < 8) continue;
    n_bits -= 8;
    bytes += static_cast<char>(bits >> n_bits);
  }
  std::vector<std::uint32_t> hashes;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
    hashes.push_back(static_cast<unsigned char>(bytes[i]) |
                     static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i + 1])) << 8);
  }
  return hashes;
}

const json& goldens() {
  static const json read = read_json("goldens.json");
  return read["cases"];
}

class TokenizerGolden : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    for (const json& entry : goldens()) {
      if (entry["name"] == GetParam()) golden_ = entry;
    }
    const std::string file = golden_["file"];
    if (file.ends_with(".model")) {
      fs::copy_file(kData / file, folder_.path() / "tokenizer.model");
    } else {
      json root = read_json(file.c_str());
      for (const auto& [key, value] : golden_["changes"].items()) root[key] = value;
      testing::write_file(folder_.path() / "tokenizer.json", root.dump());
      for (const json& token : root["added_tokens"]) {
        if (!token["normalized"].get<bool>()) specials_.insert(token["id"].get<TokenId>());
      }
    }
    tokenizer_ = load_tokenizer(folder_.path());
    while (tokenizer_->decode({&letter_, 1}) != "z") ++letter_;
  }

  /// The libraries keep the space that encoding puts behind a special token.
  std::string decode_as_library(const std::vector<TokenId>& ids) const {
    if (golden_["file"] == "llama2.model") return tokenizer_->decode(ids);
    std::string text;
    std::vector<TokenId> run;
    const auto flush = [&] {
      if (!text.empty()) run.insert(run.begin(), letter_);
      text += tokenizer_->decode(run).substr(text.empty() ? 0 : 1);
      run.clear();
    };
    for (const TokenId id : ids) {
      if (!specials_.contains(id)) {
        run.push_back(id);
        continue;
      }
      flush();
      text += tokenizer_->decode({&id, 1});
    }
    flush();
    return text;
  }

  testing::TempFolder folder_;
  json golden_;
  std::set<TokenId> specials_;  // what is looked for before normalisation
  TokenId letter_ = 0;          // decodes to one letter
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_P(TokenizerGolden, ids_equal_the_librarys) {
  for (const json& entry : golden_["ids"]) {
    const std::string& text = strings()[entry[0].get<std::size_t>()];
    ASSERT_EQ(tokenizer_->encode(text).ids, entry[1].get<std::vector<TokenId>>()) << json(text);
  }
  const auto hashes = decode_hashes(golden_["hashes"]);
  ASSERT_GE(hashes.size(), 4096U);
  int n_wrong = 0;
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    if (find_invalid_utf8(strings()[i]) != std::string::npos) continue;
    if (hash_ids(tokenizer_->encode(strings()[i]).ids) == hashes[i]) continue;
    if (++n_wrong <= 5) ADD_FAILURE() << "string " << i << ": " << json(strings()[i]);
  }
  EXPECT_EQ(n_wrong, 0);
}

TEST_P(TokenizerGolden, decoded_ids_equal_the_librarys) {
  for (const json& entry : golden_["decodes"]) {
    const auto ids = entry[0].get<std::vector<TokenId>>();
    EXPECT_EQ(decode_as_library(ids), entry[1].get<std::string>()) << entry[0];
  }
  const json& decoded = golden_["decoded"];
  const std::size_t n = decode_hashes(golden_["hashes"]).size();
  int n_wrong = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const std::string& text = strings()[i];
    if (find_invalid_utf8(text) != std::string::npos) continue;
    const auto other = decoded.find(std::to_string(i));
    if (other != decoded.end() && other->is_null()) continue;
    const std::uint32_t expected =
        other == decoded.end() ? hash_text(text) : other->get<std::uint32_t>();
    const std::string back = decode_as_library(tokenizer_->encode(text).ids);
    if (hash_text(back) == expected) continue;
    if (++n_wrong <= 5) ADD_FAILURE() << json(text) << " became " << json(back);
  }
  EXPECT_EQ(n_wrong, 0);
}

TEST_P(TokenizerGolden, what_loses_nothing_gives_the_text_and_the_places_of_its_tokens_back) {
  static const std::set<std::string> kLossless{"gpt2", "llama3", "llama2", "sentencepiece"};
  const bool is_lossless = kLossless.contains(GetParam());
  for (std::size_t i = 0; i < 4096; ++i) {
    const std::string& text = strings()[i];
    if (find_invalid_utf8(text) != std::string::npos) continue;
    const Encoding encoding = tokenizer_->encode(text);
    ASSERT_EQ(encoding.begin.size(), encoding.ids.size());
    ASSERT_TRUE(std::is_sorted(encoding.begin.begin(), encoding.begin.end()));
    ASSERT_LE(encoding.begin.back(), static_cast<std::int64_t>(text.size()));
    // U+2581 is what SentencePiece has for a space.
    if (!is_lossless || text.find("\u2581") != std::string::npos) continue;
    ASSERT_EQ(tokenizer_->decode(encoding.ids), text);
    // Parts of one character may all be said to begin where it does.
    std::size_t half = encoding.ids.size() / 2;
    while (half > 0 && encoding.begin[half] == encoding.begin[half - 1]) --half;
    const std::string front = tokenizer_->decode(std::span(encoding.ids).first(half));
    ASSERT_EQ(front, text.substr(0, static_cast<std::size_t>(encoding.begin[half])))
        << json(text) << " token " << half;
  }
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const json& entry : goldens()) all.push_back(entry["name"]);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Cases, TokenizerGolden, ::testing::ValuesIn(names()),
                         [](const auto& of_case) {
                           std::string name = of_case.param;
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

TEST(TokenizerGoldenStrings, broken_utf8_is_refused_where_python_refuses_it) {
  const json parts = read_json("strings.json");
  std::size_t n_broken = 0;
  for (std::size_t i = 0; i < strings().size(); ++i) {
    const auto expected = parts["invalid"].find(std::to_string(i));
    const std::size_t found = find_invalid_utf8(strings()[i]);
    if (expected == parts["invalid"].end()) {
      ASSERT_EQ(found, std::string::npos) << i;
    } else {
      ASSERT_EQ(found, expected->get<std::size_t>()) << i;
      ++n_broken;
    }
  }
  EXPECT_GE(strings().size(), 10000U);
  EXPECT_GT(n_broken, 300U);
}

}  // namespace
}  // namespace sala
