// Tokenizer files that are broken or ask for more than there is: each is refused by name.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "engine/text/tokenizer.h"

namespace sala {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class TokenizerFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              (std::string("sala_files_") +
               testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    root_ = read_data("tiny_tokenizer/tokenizer.json");
  }
  static json read_data(const char* name) {
    return json::parse(read_text_file(fs::path(SALA_TEST_SOURCE_DIR) / "tests/golden/data" / name));
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const std::string& tokenizer) {
    std::ofstream(folder_ / "tokenizer.json", std::ios::binary) << tokenizer;
  }
  /// Expects loading `root` to fail with a message that holds all the words.
  void expect_refused(const json& root, const std::vector<std::string>& words) {
    write(root.dump());
    expect_error(words);
  }
  void expect_error(const std::vector<std::string>& words) {
    try {
      load_tokenizer(folder_);
      ADD_FAILURE() << "loaded, expected an error about " << words[0];
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("tokenizer"), std::string::npos) << message;
      for (const auto& word : words) EXPECT_NE(message.find(word), std::string::npos) << message;
    }
  }
  std::optional<TokenId> bos_with_config(const json& config) {
    write(root_.dump());
    std::ofstream(folder_ / "tokenizer_config.json") << config;
    return load_tokenizer(folder_)->bos();
  }

  fs::path folder_;
  json root_;
};

TEST_F(TokenizerFiles, a_missing_file_is_named) {
  expect_error({"tokenizer.json", "tokenizer.model", "no such file"});
}

TEST_F(TokenizerFiles, broken_json_is_located) {
  const std::string whole = root_.dump();
  write(whole.substr(0, whole.size() / 2));
  expect_error({"not valid JSON", "byte"});
  write("");
  expect_error({"not valid JSON"});
  write("[]");
  expect_error({"expected an object"});
}

TEST_F(TokenizerFiles, pointers_of_git_lfs_are_recognised) {
  write("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 123\n");
  expect_error({"tokenizer.json", "git lfs pull"});
  fs::rename(folder_ / "tokenizer.json", folder_ / "tokenizer.model");
  expect_error({"tokenizer.model", "git lfs pull"});
  fs::rename(folder_ / "tokenizer.model", folder_ / "tokenizer_config.json");
  write(root_.dump());
  expect_error({"tokenizer_config.json", "git lfs pull"});
}

TEST_F(TokenizerFiles, links_that_lead_in_a_circle_are_named) {
  fs::create_symlink("tokenizer.json", folder_ / "tokenizer.json");
  expect_error({"tokenizer.json", "symbolic links"});
}

TEST_F(TokenizerFiles, a_vocabulary_without_a_byte_names_the_byte) {
  root_["model"]["vocab"].erase("Ġ");
  root_["model"]["merges"] = json::array();
  expect_refused(root_, {"0x20", "byte-level"});
  root_ = read_data("tokenizers/llama2.json");
  root_["model"]["vocab"].erase("<0x41>");
  expect_refused(root_, {"0x41", "byte_fallback"});
}

TEST_F(TokenizerFiles, pieces_of_characters_need_byte_fallback_on_both_ways) {
  const json llama = read_data("tokenizers/llama2.json");
  json root = llama;
  root["model"]["byte_fallback"] = false;
  expect_refused(root, {"model.byte_fallback", "ByteLevel"});
  root = llama;
  root["decoder"]["decoders"].erase(1);
  expect_refused(root, {"decoder", "ByteFallback"});
  root = llama;
  root["decoder"] = {{"type", "ByteLevel"}};
  expect_refused(root, {"decoder", "ByteLevel"});
  root = llama;
  root["decoder"]["decoders"][3]["start"] = 2;
  expect_refused(root, {"decoder.decoders[3]", "one space"});
  root = llama;
  root["decoder"]["decoders"].erase(2);
  expect_refused(root, {"decoder.decoders[2]", "behind Fuse"});
  root = llama;
  root["normalizer"]["normalizers"][1]["pattern"] = {{"Regex", " +"}};
  expect_refused(root, {"normalizer.normalizers[1].pattern", "String"});
  root = llama;
  root["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "last"}};
  expect_refused(root, {"pre_tokenizer.prepend_scheme", "last"});
}

TEST_F(TokenizerFiles, a_space_in_front_of_pieces_already_cut_is_refused) {
  root_["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true;
  expect_refused(root_, {"pre_tokenizer.pretokenizers[1]", "space"});
}

TEST_F(TokenizerFiles, steps_within_steps_end_somewhere) {
  json steps = root_["pre_tokenizer"];
  for (int i = 0; i < 20; ++i) {
    steps = {{"type", "Sequence"}, {"pretokenizers", json::array({steps})}};
  }
  root_["pre_tokenizer"] = steps;
  expect_refused(root_, {"nests deeper"});
}

TEST_F(TokenizerFiles, an_added_token_that_contradicts_the_vocabulary_is_refused) {
  root_["added_tokens"].push_back({{"id", 900}, {"content", "a"}});
  expect_refused(root_, {"'a'", "900", "model.vocab"});
}

TEST_F(TokenizerFiles, tokens_that_only_the_config_names_are_added) {
  write(root_.dump());
  std::ofstream(folder_ / "tokenizer_config.json")
      << R"({"added_tokens_decoder": {"901": {"content": "<tool>", "special": true}}})";
  std::ofstream(folder_ / "added_tokens.json") << R"({"<call>": 902})";
  const auto tokenizer = load_tokenizer(folder_);
  EXPECT_EQ(tokenizer->encode("<tool><call>").ids, (std::vector<TokenId>{901, 902}));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{902, 901}), "<call><tool>");
  std::ofstream(folder_ / "tokenizer_config.json") << R"({"added_tokens_decoder": {"x1": {}}})";
  expect_error({"added_tokens_decoder['x1']"});
}

TEST_F(TokenizerFiles, unsupported_parts_are_named) {
  const std::vector<std::pair<json, std::vector<std::string>>> cases{
      {{{"model", {{"type", "Unigram"}}}}, {"model.type", "Unigram"}},
      {{{"model", {{"dropout", 0.1}}}}, {"model.dropout"}},
      {{{"model", {{"end_of_word_suffix", "</w>"}}}}, {"model.end_of_word_suffix"}},
      {{{"model", {{"continuing_subword_prefix", "##"}}}}, {"continuing_subword_prefix"}},
      {{{"normalizer", {{"type", "NFKC"}}}}, {"normalizer.type", "NFKC"}},
      {{{"pre_tokenizer", {{"type", "Whitespace"}}}}, {"pre_tokenizer.type", "Whitespace"}},
      {{{"decoder", nullptr}}, {"decoder"}},
      {{{"decoder", {{"type", "WordPiece"}}}}, {"decoder.type", "WordPiece"}},
      {{{"post_processor", {{"type", "BertProcessing"}}}}, {"post_processor.type"}},
      {{{"post_processor",
         {{"single", json::array({{{"Sequence", {}}}, {{"SpecialToken", {}}}})}}}},
       {"post_processor.single"}},
  };
  for (const auto& [patch, words] : cases) {
    json root = root_;
    root.merge_patch(patch);
    expect_refused(root, words);
  }
}

TEST_F(TokenizerFiles, split_steps_other_than_isolating_a_pattern_are_refused) {
  json& split = root_["pre_tokenizer"]["pretokenizers"][0];
  const json good = split;
  split["behavior"] = "MergedWithNext";
  expect_refused(root_, {"pretokenizers[0].behavior", "MergedWithNext"});
  split = good;
  split["invert"] = true;
  expect_refused(root_, {"pretokenizers[0].invert"});
  split = good;
  split["pattern"] = {{"Regex", "(unclosed"}};
  expect_refused(root_, {"does not compile", "offset"});
  split["pattern"] = {{"Regex", "[a-z&&[^x]]"}};
  expect_refused(root_, {"&&"});
  split["pattern"] = {{"String", ""}};
  expect_refused(root_, {"pattern.String"});
  split["pattern"] = {{"Glob", "*"}};
  expect_refused(root_, {"pattern"});
}

TEST_F(TokenizerFiles, a_string_pattern_splits_too) {
  root_["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {{"String", "th"}};
  write(root_.dump());
  const auto tokenizer = load_tokenizer(folder_);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("the other thing").ids), "the other thing");
}

TEST_F(TokenizerFiles, bad_values_are_named_with_their_place) {
  json root = root_;
  root["model"]["vocab"]["a"] = -1;
  expect_refused(root, {"model.vocab['a']", "-1"});
  root = root_;
  root["model"]["vocab"]["a"] = "7";
  expect_refused(root, {"model.vocab['a']"});
  root = root_;
  root["model"]["vocab"]["a"] = root["model"]["vocab"]["b"];
  expect_refused(root, {"second time"});
  root = root_;
  root["model"]["vocab"]["a"] = 1LL << 40;
  expect_refused(root, {"model.vocab['a']"});
  root = root_;
  root["model"]["vocab"] = 3;
  expect_refused(root, {"model.vocab", "object"});
  root = root_;
  root["model"]["merges"][2] = "abc";
  expect_refused(root, {"model.merges[2]"});
  root["model"]["merges"][2] = json::array({"a"});
  expect_refused(root, {"model.merges[2]"});
  root["model"]["merges"][2] = "q zzzz";
  expect_refused(root, {"model.merges[2]", "lacks"});
  root = root_;
  root["added_tokens"][0]["content"] = "";
  expect_refused(root, {"added_tokens[0].content"});
  root = root_;
  root.erase("model");
  expect_refused(root, {"model"});
}

TEST_F(TokenizerFiles, bos_comes_from_the_post_processor) {
  write(root_.dump());
  EXPECT_EQ(load_tokenizer(folder_)->bos(), 0);
  root_["post_processor"] = nullptr;
  write(root_.dump());
  EXPECT_EQ(load_tokenizer(folder_)->bos(), std::nullopt);
}

TEST_F(TokenizerFiles, add_bos_token_overrules_the_post_processor) {
  EXPECT_EQ(bos_with_config({{"add_bos_token", false}}), std::nullopt);
  EXPECT_EQ(bos_with_config({{"model_max_length", 10}}), 0);
  root_["post_processor"] = {{"type", "ByteLevel"}};
  EXPECT_EQ(bos_with_config({{"add_bos_token", true}, {"bos_token", "</s>"}}), 1);
  EXPECT_EQ(bos_with_config({{"add_bos_token", true}, {"bos_token", {{"content", "<s>"}}}}), 0);
  EXPECT_EQ(bos_with_config({{"bos_token", "<s>"}}), std::nullopt);
}

TEST_F(TokenizerFiles, a_bos_token_that_does_not_exist_is_named) {
  EXPECT_THROW(bos_with_config({{"add_bos_token", true}, {"bos_token", "<begin>"}}), Error);
  root_["post_processor"] = nullptr;
  EXPECT_THROW(bos_with_config({{"add_bos_token", true}}), Error);
  EXPECT_THROW(bos_with_config({{"add_bos_token", "yes"}}), Error);
}

TEST_F(TokenizerFiles, an_end_token_behind_every_text_is_refused) {
  EXPECT_NO_THROW(bos_with_config({{"add_eos_token", false}}));
  EXPECT_NO_THROW(bos_with_config({{"add_eos_token", nullptr}}));
  std::ofstream(folder_ / "tokenizer_config.json") << R"({"add_eos_token": true})";
  expect_error({"tokenizer_config.json", "add_eos_token", "true"});
}

}  // namespace
}  // namespace sala
