// RULER's inputs: word lists, essays and questions, whole and broken.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "engine/base/sha256.h"
#include "tasks/data_files.h"
#include "tasks/ruler/essay.h"
#include "tasks/ruler/questions.h"
#include "tasks/ruler/words.h"
#include "tests/expect_error.h"

namespace sala {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::expect_error;

class RulerData : public ::testing::Test {
 protected:
  RulerData() { fs::create_directories(folder_ / "wonderwords"); }
  ~RulerData() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  void write_essay(const std::string& text, const json& starts, bool seam_break) const {
    const std::string essay = json{{"text", text}}.dump();
    write("essay.json", essay);
    write("essay.sents.json", json{{"format", "sala-sentence-starts-1"},
                                   {"essay_sha256", sha256_hex(essay)},
                                   {"seam_break", seam_break},
                                   {"starts", starts}}
                                  .dump());
  }

  const fs::path folder_ = fs::path(::testing::TempDir()) /
                           ::testing::UnitTest::GetInstance()->current_test_info()->name();
  const std::vector<std::string> data_{folder_.string()};
};

TEST_F(RulerData, keys_are_in_the_order_of_the_joined_strings) {
  std::vector<std::string> adjectives{"old", "older", "old-fashioned", "old-fashioned-ish",
                                      "a",   "a b",   "wide",          "wide-eyed"};
  std::vector<std::string> nouns{"ape", "contact lens", "zoo", "fashioned-cat", "b", "eye"};
  sort_unique(adjectives);
  sort_unique(nouns);
  const KeyWords keys({adjectives, nouns});
  std::vector<std::string> expected;
  for (const auto& adjective : adjectives) {
    for (const auto& noun : nouns) expected.push_back(fmt::format("{}-{}", adjective, noun));
  }
  std::sort(expected.begin(), expected.end());
  ASSERT_EQ(keys.size(), expected.size());
  for (std::size_t i = 0; i < keys.size(); ++i) EXPECT_EQ(keys[i], expected[i]) << i;
}

TEST_F(RulerData, word_lists_lose_trailing_space_and_repetitions) {
  write("wonderwords/nounlist.txt", "dog \t\r\ncat\ndog\n");
  write("wonderwords/adjectivelist.txt", "red");
  write("wonderwords/verblist.txt", "run\ncat\n");
  EXPECT_EQ(read_words(data_, "wonderwords/nounlist.txt"),
            (std::vector<std::string>{"dog", "cat", "dog"}));
  EXPECT_EQ(wonder_key_lists(data_).nouns, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(wonder_words(data_), (std::vector<std::string>{"cat", "dog", "red", "run"}));
  write("wonderwords/nounlist.txt", "dog\n\xff\n");
  expect_error([&] { wonder_words(data_); }, {"nounlist.txt", "UTF-8", "4"});
  write("wonderwords/nounlist.txt", "");
  expect_error([&] { wonder_words(data_); }, {"nounlist.txt", "no words"});
}

TEST_F(RulerData, english_words_keep_the_order_of_the_file) {
  write("english_words.json", R"({"10": "b", "2": "a", "0": "c"})");
  EXPECT_EQ(english_words(data_), (std::vector<std::string>{"b", "a", "c"}));
  write("english_words.json", R"({"10": 5})");
  expect_error([&] { english_words(data_); }, {"english_words.json", "expected JSON"});
  write("english_words.json", R"({"10": "b")");
  expect_error([&] { english_words(data_); }, {"english_words.json", "expected JSON"});
  write("english_words.json", "[\"b\"]");
  expect_error([&] { english_words(data_); }, {"english_words.json", "no object"});
  write("english_words.json", "{}");
  expect_error([&] { english_words(data_); }, {"english_words.json", "no words"});
}

TEST_F(RulerData, a_missing_file_says_how_to_get_it) {
  expect_error([&] { data_file({}, "squad.json"); }, {"squad.json", "get_data.sh", "--data"});
  expect_error([&] { data_file(data_, "essay.json"); },
               {"essay.json", folder_.string(), "download_paulgraham_essay.py"});
}

TEST_F(RulerData, the_first_folder_that_has_a_file_wins_and_other_hashes_are_stand_ins) {
  write("squad.json", "{}");
  const auto source = data_source({"/nowhere", folder_.string()}, "squad.json");
  EXPECT_EQ(source.sha256, sha256_hex("{}"));
  EXPECT_TRUE(source.standin);
}

/// Sentences by the definition: repeat, cut at the starts, strip, drop what is empty.
std::vector<std::string> sentences_by_definition(const std::string& text,
                                                 const std::vector<std::size_t>& starts,
                                                 bool seam_break, std::int64_t n_words) {
  std::vector<std::string> words{""};
  for (const char c : text) {
    if (c == ' ') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  std::string joined;
  for (std::int64_t i = 0; i < n_words; ++i) {
    if (i > 0) joined += ' ';
    joined += words[static_cast<std::size_t>(i) % words.size()];
  }
  std::set<std::size_t> cuts{joined.size()};
  for (std::size_t base = 0; base < joined.size(); base += text.size() + 1) {
    for (std::size_t s = 0; s < starts.size(); ++s) {
      if (base > 0 && s == 0 && !seam_break) continue;
      if (base + starts[s] < joined.size()) cuts.insert(base + starts[s]);
    }
  }
  std::vector<std::string> pieces;
  std::size_t begin = *cuts.begin();
  for (const std::size_t end : cuts) {
    std::string piece = joined.substr(begin, end - begin);
    begin = end;
    piece.erase(0, std::min(piece.find_first_not_of(' '), piece.size()));
    while (!piece.empty() && piece.back() == ' ') piece.pop_back();
    if (!piece.empty()) pieces.push_back(piece);
  }
  return pieces;
}

TEST_F(RulerData, sentences_of_every_number_of_words_follow_the_definition) {
  std::mt19937 random(5);
  for (int round = 0; round < 30; ++round) {
    std::string text = round % 3 == 0 ? " " : "";
    for (int word = 0; word < 12; ++word) {
      text += std::string(1 + random() % 5, static_cast<char>('a' + word)) + " ";
    }
    if (round % 2 == 0) text.pop_back();
    // A break may be anywhere, within a word too.
    std::set<std::size_t> starts{text.find_first_not_of(' ')};
    for (int s = 0; s < 4; ++s) starts.insert(1 + random() % (text.size() - 1));
    const std::vector<std::size_t> list(starts.begin(), starts.end());
    const bool seam_break = random() % 2 == 0;
    std::string raw = text;
    if (const auto at = raw.find(' ', 3); at != std::string::npos) raw.replace(at, 1, "\n\t ");
    write_essay(raw, list, seam_break);
    const Essay essay(data_);
    for (std::int64_t n = 1; n < 60; ++n) {
      const auto found = essay.sentences(n);
      EXPECT_EQ(std::vector<std::string>(found.begin(), found.end()),
                sentences_by_definition(text, list, seam_break, n))
          << "round " << round << ", " << n << " words of '" << text << "'";
    }
  }
}

TEST_F(RulerData, an_essay_needs_its_own_sentences) {
  write_essay("One. Two.", {0, 5}, true);
  write("essay.json", json{{"text", "Another."}}.dump());
  expect_error([&] { Essay essay(data_); }, {"essay.sents.json", "another text"});
  write_essay("One. Two.", {0, 50}, true);
  expect_error([&] { Essay essay(data_); }, {"essay.sents.json", "'starts'"});
  write_essay("One. Two.", {5, 0}, true);
  expect_error([&] { Essay essay(data_); }, {"'starts'"});
  write_essay("One. Two.", {-1, 0}, true);
  expect_error([&] { Essay essay(data_); }, {"essay.sents.json"});
  write("essay.sents.json", "{\"format\": \"else\"}");
  expect_error([&] { Essay essay(data_); }, {"format", "else"});
  write("essay.sents.json", "{\"form");
  expect_error([&] { Essay essay(data_); }, {"essay.sents.json"});
  write("essay.json", "\"text\"");
  expect_error([&] { Essay essay(data_); }, {"essay.json", "expected JSON"});
}

TEST_F(RulerData, squad_gives_answerable_questions_in_file_order) {
  write("squad.json", R"({"data": [{"title": "B", "paragraphs": [
      {"context": "zwei", "qas": [
        {"question": "no?", "answers": [], "is_impossible": true},
        {"question": "q1?", "answers": [{"text": "a"}, {"text": "a"}], "is_impossible": false}]},
      {"context": "eins", "qas": [
        {"question": "q2?", "answers": [{"text": "b"}], "is_impossible": false}]},
      {"context": "zwei", "qas": []}]}]})");
  const QuestionSet set = read_squad(data_);
  EXPECT_EQ(set.documents, (std::vector<std::string>{"eins", "zwei"}));
  ASSERT_EQ(set.questions.size(), 2U);
  EXPECT_EQ(set.questions[0].text, "q1?");
  EXPECT_EQ(set.questions[0].answers, (std::vector<std::string>{"a", "a"}));
  EXPECT_EQ(set.questions[0].gold, std::vector<std::size_t>{1});
  EXPECT_EQ(set.questions[0].more, std::vector<std::size_t>{0});
  EXPECT_EQ(set.questions[1].more, (std::vector<std::size_t>{1, 1}));
  EXPECT_EQ(set.questions[1].cluster, "B");
}

TEST_F(RulerData, hotpotqa_documents_are_title_and_sentences) {
  write("hotpotqa.json", R"([{"_id": "x", "question": "q?", "answer": "yes",
      "context": [["T2", ["Second. ", "More."]], ["T1", ["First."]]]}])");
  const QuestionSet set = read_hotpotqa(data_);
  EXPECT_EQ(set.documents, (std::vector<std::string>{"T1\nFirst.", "T2\nSecond. More."}));
  EXPECT_EQ(set.questions[0].gold, (std::vector<std::size_t>{1, 0}));
  EXPECT_TRUE(set.questions[0].more.empty());
}

TEST_F(RulerData, broken_question_files_are_named) {
  for (const char* text : {"", "[", "{}", "[1]", R"([{"context": 5}])", R"({"data": [{}]})",
                           R"({"data": []})", "[]", "\"\xff\""}) {
    write("squad.json", text);
    write("hotpotqa.json", text);
    expect_error([&] { read_squad(data_); }, {"squad.json"});
    expect_error([&] { read_hotpotqa(data_); }, {"hotpotqa.json"});
  }
}

TEST_F(RulerData, made_up_questions_are_answered_by_their_documents_alone) {
  const Prose prose(fs::path(SALA_TEST_SOURCE_DIR) / "data/text/prose.json");
  for (const int hops : {1, 2}) {
    const QuestionSet set = made_up_questions(prose, hops);
    EXPECT_EQ(set.questions.size(), 500U);
    for (const Question& question : set.questions) {
      ASSERT_EQ(question.gold.size(), static_cast<std::size_t>(hops));
      const std::string& first = set.documents[question.gold.front()];
      const std::string& last = set.documents[question.gold.back()];
      EXPECT_NE(last.find(question.answers[0]), std::string::npos);
      const std::string asked = first.substr(0, first.find('\n'));
      const std::string answers = last.substr(0, last.find('\n'));
      EXPECT_NE(question.text.find(asked), std::string::npos) << question.text;
      if (hops == 2) {
        EXPECT_EQ(question.text.find(answers), std::string::npos);
        EXPECT_NE(first.find("learned everything from " + answers), std::string::npos);
      }
    }
    EXPECT_EQ(made_up_questions(prose, hops).documents, set.documents);
  }
}

}  // namespace
}  // namespace sala
