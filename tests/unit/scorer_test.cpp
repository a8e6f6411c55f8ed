// Scores against RULER's own, and the classes of wrong answers.
// SPDX-License-Identifier: Apache-2.0
#include "harness/scorer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "harness/scorers/scorers.h"

namespace sala {
namespace {

using nlohmann::json;

double score_of(std::string_view scorer, const std::vector<std::string>& references,
                const std::string& text) {
  return find_scorer(scorer).score(references, {text, false, {}}).value;
}

std::string class_of(std::string_view scorer, const std::string& reference, const std::string& text,
                     bool hit_token_limit = false) {
  return find_scorer(scorer).score({reference}, {text, hit_token_limit, {}}).error_class;
}

/// Percent as Python's round(x, 2) has it.
double percent(double share) {
  return std::strtod(fmt::format("{:.2f}", share * 100).c_str(), nullptr);
}

TEST(RulerScorer, equals_ruler_on_its_own_vectors) {
  const json golden = json::parse(read_text_file(std::filesystem::path(SALA_TEST_SOURCE_DIR) /
                                                 "tests/golden/data/ruler_scoring.json"));
  std::map<int, std::pair<double, double>> values;
  for (const json& pair : golden["pairs"]) {
    const std::vector<std::string> references = pair["outputs"];
    const std::string prediction = pair["prediction"];
    EXPECT_EQ(ruler_post_process(prediction), pair["post"].get<std::string>()) << pair;
    const double all = score_of("ruler_all", references, prediction);
    const double part = score_of("ruler_part", references, prediction);
    EXPECT_EQ(percent(all), pair["all"].get<double>()) << pair;
    EXPECT_EQ(percent(part), pair["part"].get<double>()) << pair;
    values[pair["id"]] = {all, part};
  }
  EXPECT_EQ(values.size(), 70U);
  for (const json& set : golden["sets"]) {
    double all = 0;
    double part = 0;
    for (const int id : set["ids"]) {
      all += values.at(id).first;
      part += values.at(id).second;
    }
    const auto n = static_cast<double>(set["ids"].size());
    EXPECT_EQ(percent(all / n), set["all"].get<double>());
    EXPECT_EQ(percent(part / n), set["part"].get<double>());
  }
}

json detail_of(std::string_view scorer, const std::vector<std::string>& references,
               const std::string& text) {
  return json::parse(find_scorer(scorer).score(references, {text, false, {}}).detail);
}

TEST(RulerScorer, shows_answers_by_luck_beside_the_score) {
  // Inside a longer word or number the metric hits, the word metric does not.
  EXPECT_EQ(score_of("ruler_part", {"no"}, "I know"), 1.0);
  EXPECT_EQ(detail_of("ruler_part", {"no"}, "I know"), (json{{"word", 0.0}}));
  EXPECT_EQ(detail_of("ruler_part", {"no", "NOT"}, "Not now"), (json{{"word", 1.0}}));
  EXPECT_EQ(detail_of("ruler_all", {"cat", "dog"}, "concat dog."), (json{{"word", 0.5}}));
  EXPECT_EQ(detail_of("ruler_all", {"1234567"}, "12345678, 1234567"),
            (json{{"word", 1.0}, {"first", 1}, {"distractors", 0}}));
  // A model that lists every value.
  EXPECT_EQ(detail_of("ruler_all", {"1234567"}, "7654321, 1111111 and 1234567"),
            (json{{"word", 1.0}, {"first", 0}, {"distractors", 2}}));
  const std::string uuid = "c7bb5410-9a71-4e1c-a57b-1a96a0a7e021";
  const std::string other = "2fd9f3aa-60a5-4b0e-82c5-3ee81d2fb7c6";
  EXPECT_EQ(detail_of("ruler_all", {uuid}, other + " " + uuid),
            (json{{"word", 1.0}, {"first", 0}, {"distractors", 1}}));
}

TEST(RulerScorer, survives_any_bytes) {
  std::mt19937_64 random(4);
  for (int i = 0; i < 500; ++i) {
    std::string text;
    for (std::uint64_t n = random() % 30; n > 0; --n) text += static_cast<char>(random());
    EXPECT_EQ(score_of("ruler_all", {"1234567"}, text + "1234567"), 1.0);
    EXPECT_EQ(score_of("passkey", {"77"}, text.substr(0, 0) + "x77" + text + " "),
              text.empty() || text[0] < '0' || text[0] > '9' ? 1.0 : 0.0);
    ruler_post_process(text);
  }
}

TEST(RulerScorer, a_right_answer_has_no_error_class) {
  const Score score = find_scorer("ruler_all").score({"12", "34"}, {"34 and 12", true, {}});
  EXPECT_EQ(score.value, 1.0);
  EXPECT_EQ(score.error_class, "");
}

TEST(RulerScorer, a_sample_without_references_is_an_error) {
  EXPECT_THROW(score_of("ruler_all", {}, "x"), Error);
  EXPECT_THROW(score_of("ruler_part", {}, "x"), Error);
}

TEST(ErrorClass, tells_wrong_answers_apart) {
  const std::string number = "7141620";
  EXPECT_EQ(class_of("ruler_all", number, " \n"), "empty");
  EXPECT_EQ(class_of("ruler_all", number, "It is 7141602."), "garbled");
  EXPECT_EQ(class_of("ruler_all", number, "It is 714162."), "garbled");
  EXPECT_EQ(class_of("ruler_all", number, "It is 3958177."), "miss");
  EXPECT_EQ(class_of("ruler_all", number, "It is not mentioned."), "refusal");
  EXPECT_EQ(class_of("ruler_all", number, "It is somewhere."), "format");
  EXPECT_EQ(class_of("ruler_all", number, "..."), "format");
  EXPECT_EQ(class_of("ruler_all", number, "The number that was", true), "truncated");
  EXPECT_EQ(class_of("ruler_all", number, "It is 71416", true), "truncated");
  EXPECT_EQ(class_of("ruler_all", number, "It is 71416", false), "garbled");
  EXPECT_EQ(class_of("ruler_all", number, "It is 3958177 and then", true), "miss");

  const std::string uuid = "c7bb5410-9a71-4e1c-a57b-1a96a0a7e021";
  EXPECT_EQ(class_of("ruler_all", uuid, "c7bb5410-9a71-4e1c-a57b-1a96a0a70000"), "garbled");
  EXPECT_EQ(class_of("ruler_all", uuid, "2fd9f3aa-60a5-4b0e-82c5-3ee81d2fb7c6"), "miss");
  EXPECT_EQ(class_of("ruler_all", uuid, "a uuid"), "format");
}

TEST(ErrorClass, compares_as_many_words_as_the_reference_has) {
  const std::string place = "Dolores Park";
  EXPECT_EQ(class_of("ruler_part", place, "They met in Dolores Bark on Sunday."), "garbled");
  EXPECT_EQ(class_of("ruler_part", place, "They met in Golden Gate Park."), "miss");
  EXPECT_EQ(class_of("ruler_part", place, "I'm sorry, I do not know."), "refusal");
}

TEST(ErrorClass, follows_the_first_reference_that_is_missing) {
  const Scorer& scorer = find_scorer("ruler_all");
  const Score score =
      scorer.score({"1111111", "2222222", "3333333"}, {"1111111 2222229 3333333", false, {}});
  EXPECT_DOUBLE_EQ(score.value, 2.0 / 3.0);
  EXPECT_EQ(score.error_class, "garbled");
}

TEST(ErrorClass, edit_distance_is_a_metric_and_matches_known_values) {
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  std::mt19937_64 random(6);
  const auto word = [&] {
    std::string text;
    for (std::uint64_t n = random() % 9; n > 0; --n) text += static_cast<char>('0' + random() % 3);
    return text;
  };
  for (int i = 0; i < 500; ++i) {
    const std::string a = word();
    const std::string b = word();
    const std::string c = word();
    EXPECT_EQ(edit_distance(a, b), edit_distance(b, a));
    EXPECT_EQ(edit_distance(a, b) == 0, a == b);
    EXPECT_LE(edit_distance(a, c), edit_distance(a, b) + edit_distance(b, c));
  }
}

TEST(PasskeyScorer, compares_the_first_number) {
  EXPECT_EQ(score_of("passkey", {"916"}, " 916. Remember it."), 1.0);
  EXPECT_EQ(score_of("passkey", {"916"}, "00916"), 1.0);
  EXPECT_EQ(score_of("passkey", {"916"}, "9160"), 0.0);
  EXPECT_EQ(score_of("passkey", {"916"}, "12 or 916"), 0.0);
  EXPECT_EQ(score_of("passkey", {"916"}, "none"), 0.0);
  EXPECT_EQ(class_of("passkey", "43568", "43569."), "garbled");
  EXPECT_EQ(class_of("passkey", "43568", "4356", true), "truncated");
  EXPECT_EQ(class_of("passkey", "43568", "4356 is", true), "garbled");
  EXPECT_EQ(class_of("passkey", "43568", "12"), "miss");
  EXPECT_EQ(class_of("passkey", "43568", "no idea"), "format");
  EXPECT_EQ(class_of("passkey", "43568", "  "), "empty");
  EXPECT_THROW(score_of("passkey", {"1", "2"}, "1"), Error);
}

TEST(Scorers, names_are_sorted_and_unique_and_each_can_be_found) {
  const auto names = scorer_names();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  for (const auto& name : names) EXPECT_EQ(find_scorer(name).name, name);
  try {
    find_scorer("nope");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("ruler_all"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace sala
