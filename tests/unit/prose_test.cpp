// The built-in prose and users' texts as haystacks.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/prose.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "engine/base/error.h"
#include "tasks/haystack.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

class ProseFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              (std::string("sala_prose_") +
               testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  template <typename Call>
  static std::string error_of(const Call& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  fs::path folder_;
};

TEST_F(ProseFile, slots_are_filled_from_their_lists_and_the_first_letter_is_a_capital) {
  const Prose prose(write("p.json", R"({"lists": {"a": ["red", "blue"], "n": ["cat"]},
                                         "sentences": ["{a} {n}s, {a} {n}.", "the {n}."]})"));
  PythonRandom random(1);
  std::set<std::string> seen;
  for (int i = 0; i < 200; ++i) seen.insert(prose.sentence(random));
  EXPECT_EQ(seen,
            (std::set<std::string>{"Red cats, red cat.", "Red cats, blue cat.",
                                   "Blue cats, red cat.", "Blue cats, blue cat.", "The cat."}));
}

TEST_F(ProseFile, the_same_seed_tells_the_same_story) {
  const Prose prose(fs::path(SALA_TEST_SOURCE_DIR) / "data/text/prose.json");
  const auto story = [&](std::uint64_t seed) {
    Haystack haystack = prose_haystack(prose, seed);
    std::string text;
    for (int i = 0; i < 50; ++i) text += haystack.next() + haystack.separator;
    return text;
  };
  EXPECT_EQ(story(7), story(7));
  EXPECT_NE(story(7), story(8));
}

TEST_F(ProseFile, built_in_sentences_end_like_sentences_and_leave_no_slot_open) {
  const Prose prose(fs::path(SALA_TEST_SOURCE_DIR) / "data/text/prose.json");
  PythonRandom random(3);
  for (int i = 0; i < 2000; ++i) {
    const std::string sentence = prose.sentence(random);
    EXPECT_EQ(sentence.find_first_of("{}\n0123456789"), std::string::npos) << sentence;
    EXPECT_NE(std::string(".?!\"").find(sentence.back()), std::string::npos) << sentence;
    EXPECT_EQ(sentence.find("special magic"), std::string::npos) << sentence;
  }
}

TEST_F(ProseFile, mistakes_in_the_file_are_named) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"{", "not valid JSON"},
      {"[]", "lists"},
      {R"({"lists": {"a": []}, "sentences": ["x"]})", "lists.a"},
      {R"({"lists": {"a": [1]}, "sentences": ["x"]})", "lists.a"},
      {R"({"lists": {"a": ["b"]}})", "sentences"},
      {R"({"lists": {"a": ["b"]}, "sentences": ["{b}"]})", "'b'"},
      {R"({"lists": {"a": ["b"]}, "sentences": ["{a"]})", "closing brace"}};
  for (const auto& [text, word] : cases) {
    const fs::path path = write("bad.json", text);
    const std::string message = error_of([&] { Prose prose(path); });
    EXPECT_NE(message.find("bad.json"), std::string::npos) << text;
    EXPECT_NE(message.find(word), std::string::npos) << message;
  }
  EXPECT_NE(error_of([&] { Prose prose(folder_ / "none.json"); }).find("none.json"),
            std::string::npos);
  const Prose prose(write("p.json", R"({"lists": {"a": ["b"]}, "sentences": ["{a}"]})"));
  EXPECT_NE(error_of([&] { prose.words("noun"); }).find("noun"), std::string::npos);
}

TEST(Sentences, break_where_a_capital_digit_or_quote_follows) {
  EXPECT_EQ(
      split_sentences("One ends. Two?  \"Three!\" Four e.g. five.\n6 (six.) \u201cSeven\u201d"),
      (std::vector<std::string>{"One ends.", "Two?", "\"Three!\"", "Four e.g. five.", "6 (six.)",
                                "\u201cSeven\u201d"}));
  EXPECT_EQ(split_sentences(" \t\n "), std::vector<std::string>{});
  EXPECT_EQ(split_sentences("no stop\u3000at all"), std::vector<std::string>{"no stop at all"});
  EXPECT_EQ(split_sentences("\u00c9t\u00e9. \u00c9cole."),
            (std::vector<std::string>{"\u00c9t\u00e9.", "\u00c9cole."}));
}

TEST_F(ProseFile, a_short_text_repeats_from_a_sentence_that_the_seed_picks) {
  const std::vector<std::string> sentences{"A.", "B.", "C."};
  std::set<std::string> beginnings;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    Haystack haystack = text_haystack(sentences, seed);
    std::string text;
    for (int i = 0; i < 7; ++i) text += haystack.next();
    EXPECT_NE(std::string("A.B.C.A.B.C.A.B.C.").find(text), std::string::npos) << text;
    beginnings.insert(text.substr(0, 2));
  }
  EXPECT_EQ(beginnings.size(), 3U);
}

TEST_F(ProseFile, folders_are_read_by_name_and_essay_json_comes_first) {
  write("b.txt", "Second one. Third");
  write("a.txt", "First one.");
  write("c.md", "Never.");
  EXPECT_EQ(read_sentences({folder_.string()}),
            (std::vector<std::string>{"First one.", "Second one.", "Third"}));
  write("LICENSE.txt", "Never either.");
  EXPECT_EQ(read_sentences({folder_.string()}).size(), 3U);
  EXPECT_EQ(text_source({folder_.string()}).name, "texts");
  write("essay.json", R"({"text": "Essay. \u00c4nd more."})");
  EXPECT_EQ(read_sentences({folder_.string()}),
            (std::vector<std::string>{"Essay.", "\u00c4nd more."}));
  // An essay in a later folder comes before loose texts in an earlier one.
  const fs::path texts = folder_ / "texts";
  fs::create_directories(texts);
  std::ofstream(texts / "a.txt") << "Loose text.";
  EXPECT_EQ(read_sentences({texts.string(), folder_.string()}).front(), "Essay.");
  EXPECT_EQ(read_sentences({texts.string()}).front(), "Loose text.");
}

TEST_F(ProseFile, unusable_texts_are_named) {
  const auto message = [&](const fs::path& path) {
    return error_of([&] { read_sentences({path.string()}); });
  };
  const std::string bad = message(write("latin1.txt", "caf\xe9 noir"));
  EXPECT_NE(bad.find("latin1.txt"), std::string::npos) << bad;
  EXPECT_NE(bad.find("byte 3 "), std::string::npos) << bad;
  EXPECT_NE(message(write("blank.txt", "\n ")).find("empty"), std::string::npos);
  EXPECT_NE(message(write("essay.json", "{\"body\": 1}")).find("essay.json"), std::string::npos);
  EXPECT_NE(message(folder_ / "gone.txt").find("gone.txt"), std::string::npos);
  fs::create_directories(folder_ / "void");
  EXPECT_NE(message(folder_ / "void").find(".txt"), std::string::npos);
}

}  // namespace
}  // namespace sala
