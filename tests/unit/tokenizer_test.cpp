// Byte-level BPE against a scripted oracle, and its laws on random text.
// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "engine/base/error.h"
#include "engine/base/mapped_file.h"

namespace sala {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kTiny = fs::path(SALA_TEST_SOURCE_DIR) / "tests/golden/data/tiny_tokenizer";

/// The tiny tokenizer with an edited tokenizer.json.
std::unique_ptr<Tokenizer> load_edited(const json& edits, const std::string& name) {
  const fs::path folder = fs::path(testing::TempDir()) / ("sala_tokenizer_" + name);
  fs::create_directories(folder);
  json root = json::parse(read_text_file(kTiny / "tokenizer.json"));
  root.merge_patch(edits);
  std::ofstream(folder / "tokenizer.json") << root;
  return load_tokenizer(folder);
}

void append_utf8(std::string& out, char32_t code_point) {
  const auto put = [&](char32_t bits) { out.push_back(static_cast<char>(bits)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3F));
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

/// Valid UTF-8 with a taste for trouble: runs of spaces, controls, emoji, halves of special tokens.
std::string random_text(std::mt19937_64& random, std::size_t pieces) {
  static const std::vector<std::string> kOdd{" ",
                                             "   ",
                                             "\n",
                                             "\r\n",
                                             "\t",
                                             "\x01",
                                             std::string(1, '\0'),
                                             "\x7f",
                                             "é",
                                             "ß",
                                             "漢字",
                                             "😀",
                                             "👩‍👩‍👧",
                                             "\u0301",
                                             "\u200b",
                                             "\u00a0",
                                             "<s",
                                             "</s>",
                                             "<s>",
                                             "1",
                                             "42",
                                             "it's",
                                             "\u180e",
                                             "\U0010ffff"};
  std::string text;
  for (std::size_t i = 0; i < pieces; ++i) {
    switch (random() % 4) {
      case 0:
        append_utf8(text, static_cast<char32_t>(random() % 0xD800));
        break;
      case 1:
        text += static_cast<char>('a' + random() % 26);
        break;
      default:
        text += kOdd[random() % kOdd.size()];
    }
    if (random() % 50 == 0) text.append(random() % 300, ' ');
  }
  return text;
}

TEST(Tokenizer, ids_equal_the_oracle_for_three_pre_tokenizers) {
  const json expected = json::parse(read_text_file(kTiny / "expected.json"));
  for (const json& test_case : expected["cases"]) {
    const std::string name = test_case["pre_tokenizer"];
    json edits = json::object();
    if (name == "gpt2")
      edits["pre_tokenizer"] = {{"pretokenizers", nullptr},
                                {"type", "ByteLevel"},
                                {"add_prefix_space", false},
                                {"use_regex", true}};
    if (name == "digits") {
      json steps =
          json::parse(read_text_file(kTiny / "tokenizer.json"))["pre_tokenizer"]["pretokenizers"];
      steps.insert(steps.begin(), json::object({{"type", "Digits"}, {"individual_digits", true}}));
      edits["pre_tokenizer"] = {{"pretokenizers", steps}};
    }
    const auto tokenizer = load_edited(edits, "oracle_" + name);
    for (std::size_t i = 0; i < test_case["texts"].size(); ++i) {
      const std::string text = test_case["texts"][i];
      EXPECT_EQ(tokenizer->encode(text).ids, test_case["ids"][i].get<std::vector<TokenId>>())
          << name << ": " << test_case["texts"][i];
    }
  }
}

TEST(Tokenizer, decode_of_encode_gives_the_text_back) {
  const auto tokenizer = load_tokenizer(kTiny);
  std::mt19937_64 random(1);
  for (int i = 0; i < 300; ++i) {
    const std::string text = random_text(random, random() % 200);
    ASSERT_EQ(tokenizer->decode(tokenizer->encode(text).ids), text);
  }
}

TEST(Tokenizer, every_token_begins_where_the_bytes_before_it_end) {
  const auto tokenizer = load_tokenizer(kTiny);
  std::mt19937_64 random(2);
  for (int i = 0; i < 100; ++i) {
    const std::string text = random_text(random, 100);
    const Encoding encoding = tokenizer->encode(text);
    ASSERT_EQ(encoding.begin.size(), encoding.ids.size());
    std::int64_t at = 0;
    for (std::size_t t = 0; t < encoding.ids.size(); ++t) {
      ASSERT_EQ(encoding.begin[t], at);
      at += static_cast<std::int64_t>(tokenizer->decode({&encoding.ids[t], 1}).size());
    }
    ASSERT_EQ(at, static_cast<std::int64_t>(text.size()));
  }
}

TEST(Tokenizer, special_tokens_are_matched_before_everything_else_and_longest_first) {
  const auto tokenizer = load_edited(
      {{"added_tokens", {{{"id", 0}, {"content", "<s>"}}, {{"id", 900}, {"content", "<s>x"}}}}},
      "special");
  EXPECT_EQ(tokenizer->encode("<s>").ids, std::vector<TokenId>{0});
  EXPECT_EQ(tokenizer->encode("<s>x").ids, std::vector<TokenId>{900});
  const Encoding encoding = tokenizer->encode("a<s>b");
  EXPECT_EQ(encoding.begin, (std::vector<std::int64_t>{0, 1, 4}));
  EXPECT_EQ(tokenizer->vocab_size(), 901);
  EXPECT_THROW(tokenizer->decode(std::vector<TokenId>{899}), Error) << "a gap in the ids";
}

TEST(Tokenizer, ids_outside_the_vocabulary_are_errors) {
  const auto tokenizer = load_tokenizer(kTiny);
  for (const std::int64_t id : {std::int64_t{-1}, tokenizer->vocab_size()}) {
    EXPECT_THROW(tokenizer->decode(std::vector<TokenId>{static_cast<TokenId>(id)}), Error) << id;
  }
}

TEST(Tokenizer, invalid_utf8_is_an_error_with_its_offset) {
  const auto tokenizer = load_tokenizer(kTiny);
  const std::pair<std::string, int> cases[] = {
      {"abc\xff", 3},  {"\xc3", 0},          {"0123456789\xe6\xbc", 10},
      {"\xc0\xaf", 0}, {"é\xed\xa0\x80", 2}, {"\xf4\x90\x80\x80", 0},
      {"ab\x80", 2}};
  for (const auto& [text, offset] : cases) {
    try {
      tokenizer->encode(text);
      ADD_FAILURE() << "accepted bytes that are bad at " << offset;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("byte " + std::to_string(offset) + " "),
                std::string::npos)
          << error.what();
    }
    EXPECT_THROW(make_whitespace_tokenizer()->encode(text), Error);
  }
}

TEST(Tokenizer, threads_may_share_one) {
  const auto tokenizer = load_tokenizer(kTiny);
  std::mt19937_64 random(3);
  std::vector<std::string> texts;
  std::vector<std::vector<TokenId>> expected;
  for (int i = 0; i < 50; ++i) {
    texts.push_back(random_text(random, 50));
    expected.push_back(load_tokenizer(kTiny)->encode(texts.back()).ids);
  }
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  threads.reserve(wrong.size());
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < texts.size(); ++i) {
        const std::size_t at = (i * 7 + t) % texts.size();
        if (tokenizer->encode(texts[at]).ids != expected[at]) ++wrong[t];
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(Tokenizer, long_pieces_do_not_take_quadratic_time) {
  const auto tokenizer = load_tokenizer(kTiny);
  // A merge loop that scans would need 10^11 steps here.
  for (const char c : {'a', ' ', '!'}) {
    const std::string text(300000, c);
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text).ids), text);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  }
}

TEST(Tokenizer, whole_pieces_skip_the_merges_only_with_ignore_merges) {
  const json added{{"model", {{"vocab", {{"qqq", 800}}}}}};
  EXPECT_EQ(load_edited(added, "merging")->encode("qqq").ids.size(), 3U);
  json ignoring = added;
  ignoring["model"]["ignore_merges"] = true;
  EXPECT_EQ(load_edited(ignoring, "ignoring")->encode("qqq").ids, std::vector<TokenId>{800});
}

TEST(Tokenizer, merges_may_be_pairs) {
  json root = json::parse(read_text_file(kTiny / "tokenizer.json"));
  json pairs = json::array();
  for (const std::string merge : root["model"]["merges"]) {
    const std::size_t space = merge.find(' ');
    pairs.push_back({merge.substr(0, space), merge.substr(space + 1)});
  }
  const std::string text = "The special magic number for dusty-lamp is: 1234567.";
  EXPECT_EQ(load_edited({{"model", {{"merges", pairs}}}}, "pairs")->encode(text).ids,
            load_tokenizer(kTiny)->encode(text).ids);
}

TEST(Tokenizer, a_prefix_space_is_added_once_and_only_where_none_is) {
  const auto tokenizer = load_edited({{"pre_tokenizer",
                                       {{"pretokenizers", nullptr},
                                        {"type", "ByteLevel"},
                                        {"add_prefix_space", true},
                                        {"use_regex", true}}}},
                                     "prefix");
  EXPECT_EQ(tokenizer->encode("the").ids, tokenizer->encode(" the").ids);
  EXPECT_EQ(tokenizer->encode("xy the").begin.front(), 0);
  EXPECT_EQ(tokenizer->encode("xy the").begin.back(), 2);
}

TEST(Tokenizer, sha256_covers_both_files) {
  const auto plain = load_edited(json::object(), "hash");
  const fs::path folder = fs::path(testing::TempDir()) / "sala_tokenizer_hash";
  std::ofstream(folder / "tokenizer_config.json") << R"({"add_bos_token": false})";
  const auto configured = load_tokenizer(folder);
  EXPECT_EQ(plain->sha256().size(), 64U);
  EXPECT_NE(plain->sha256(), configured->sha256());
  fs::remove(folder / "tokenizer_config.json");
  EXPECT_EQ(load_tokenizer(folder)->sha256(), plain->sha256());
}

TEST(WhitespaceTokenizer, splits_at_pythons_29_spaces_and_nowhere_else) {
  const auto tokenizer = make_whitespace_tokenizer();
  int n_spaces = 0;
  for (char32_t c = 0; c < 0x11000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text = "a";
    append_utf8(text, c);
    text += "b";
    if (tokenizer->count(text) == 2) ++n_spaces;
  }
  EXPECT_EQ(n_spaces, 29);
  EXPECT_EQ(tokenizer->encode("  one\ttwo \u3000 three\n").begin,
            (std::vector<std::int64_t>{2, 6, 14}));
  EXPECT_EQ(tokenizer->count(" \n"), 0);
  EXPECT_THROW(tokenizer->decode(std::vector<TokenId>{0}), Error);
}

}  // namespace
}  // namespace sala
