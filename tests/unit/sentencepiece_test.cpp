// tokenizer.model folders: what lies beside the file, words encoded apart, and broken files.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "engine/base/mapped_file.h"
#include "engine/text/tokenizer.h"
#include "tests/expect_error.h"
#include "tests/tiny_model.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

const fs::path kModel =
    fs::path(SALA_TEST_SOURCE_DIR) / "tests/golden/data/tokenizers/llama2.model";

class SentencePieceFiles : public ::testing::Test {
 protected:
  void SetUp() override { write("tokenizer.model", read_text_file(kModel)); }
  void write(const char* name, const std::string& text) {
    testing::write_file(folder_.path() / name, text);
  }
  std::unique_ptr<Tokenizer> load() { return load_tokenizer(folder_.path()); }

  testing::TempFolder folder_;
};

TEST_F(SentencePieceFiles, words_encoded_apart_equal_one_call_of_the_library) {
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.Load(kModel.string()).ok());
  const auto tokenizer = load();
  const std::string parts[] = {"the",    "of",     " ",   "  ",  "    ",    "\n", "é",
                               "\u2581", "是",     "12",  "!",   " \u2581", ",",  "q",
                               "a",      "\u3000", "we'", "\t ", "的一",    "😀"};
  std::mt19937_64 random(1);
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (std::size_t n = 1 + random() % 12; n > 0; --n) text += parts[random() % std::size(parts)];
    ASSERT_EQ(tokenizer->encode(text).ids, library.EncodeAsIds(text)) << '"' << text << '"';
  }
}

TEST_F(SentencePieceFiles, a_text_cut_for_threads_has_the_tokens_of_one_call_of_the_library) {
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.Load(kModel.string()).ok());
  const auto tokenizer = load();
  const std::string parts[] = {"the", " ", "of", "  ", "\u2581", " the", "é", "\n", "是", " a"};
  std::mt19937_64 random(2);
  std::string text;
  while (text.size() < 600'000) text += parts[random() % std::size(parts)];
  text += " the";
  const Encoding encoding = tokenizer->encode(text);
  ASSERT_EQ(encoding.ids, library.EncodeAsIds(text));
  EXPECT_TRUE(std::is_sorted(encoding.begin.begin(), encoding.begin.end()));
  ASSERT_EQ(encoding.ids.back(), tokenizer->encode("the").ids.back());
  EXPECT_EQ(encoding.begin.back(), static_cast<std::int64_t>(text.size() - 4));

  const std::string one_word(600'000, 'a');
  EXPECT_EQ(tokenizer->encode(one_word).ids, library.EncodeAsIds(one_word));
}

TEST_F(SentencePieceFiles, bos_is_the_models_unless_the_config_says_otherwise) {
  EXPECT_EQ(load()->bos(), 1);
  write("tokenizer_config.json", R"({"add_bos_token": false})");
  EXPECT_EQ(load()->bos(), std::nullopt);
  write("tokenizer_config.json", R"({"add_bos_token": true, "bos_token": "</s>"})");
  EXPECT_EQ(load()->bos(), 2);
  write("tokenizer_config.json", R"({"bos_token": "<begin>"})");
  testing::expect_error([&] { load(); }, {"tokenizer_config.json", "<begin>"});
}

TEST_F(SentencePieceFiles, added_tokens_are_cut_out_and_come_back) {
  const auto plain = load();
  write("added_tokens.json", R"({"<|im_end|>": 1400, "<|im_start|>": 1401})");
  const auto tokenizer = load();
  EXPECT_EQ(plain->vocab_size(), 1400);
  EXPECT_EQ(tokenizer->vocab_size(), 1402);
  EXPECT_NE(plain->sha256(), tokenizer->sha256());
  const std::string text = "<|im_start|>the of<|im_end|>  the\n<s>";
  const Encoding encoding = tokenizer->encode(text);
  EXPECT_EQ(encoding.ids.front(), 1401);
  EXPECT_EQ(encoding.ids.back(), 1);
  EXPECT_EQ(encoding.begin.back(), static_cast<std::int64_t>(text.size() - 3));
  EXPECT_EQ(tokenizer->decode(encoding.ids), text);
  testing::expect_error([&] { tokenizer->decode(std::vector<TokenId>{1402}); }, {"1402"});
  testing::expect_error([&] { tokenizer->encode("ab\xff"); }, {"UTF-8", "byte 2 "});
}

TEST_F(SentencePieceFiles, broken_files_are_errors_that_name_them) {
  const std::string whole = read_text_file(kModel);
  for (const std::string& bytes :
       {std::string(), std::string("not a model"), whole.substr(0, whole.size() / 2),
        whole.substr(0, 100), std::string(5000, '\xff')}) {
    write("tokenizer.model", bytes);
    testing::expect_error([&] { load(); }, {"tokenizer.model"});
  }
  write("tokenizer.model", whole);
  for (const char* bad : {"[]", R"({"<x>": -1})", R"({"<x>": "1"})", R"({"": 5000})", "{"}) {
    write("added_tokens.json", bad);
    testing::expect_error([&] { load(); }, {"added_tokens.json"});
  }
}

}  // namespace
}  // namespace sala
