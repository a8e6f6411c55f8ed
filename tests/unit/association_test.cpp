// Built-in tasks after NoLiMa and MRCR: what may and what may not be in their prompts.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "engine/base/lower.h"
#include "engine/base/mapped_file.h"
#include "harness/scorer.h"
#include "harness/task.h"

namespace sala {
namespace {

using nlohmann::json;

const Tokenizer& words() {
  static const auto tokenizer = make_whitespace_tokenizer();
  return *tokenizer;
}

json read(const char* name) {
  return json::parse(
      read_text_file(std::string(SALA_TEST_SOURCE_DIR) + "/data/text/" + name + ".json"));
}

/// Words of content: those of four letters or more, without the most common ones.
std::set<std::string> content_words(const std::string& text) {
  static const std::set<std::string> common{"name", "from", "with", "that", "this", "have", "been",
                                            "last", "year", "time", "must", "does", "works"};
  std::set<std::string> found;
  std::string word;
  for (const char c : lower(text) + " ") {
    if (c >= 'a' && c <= 'z') {
      word += c;
    } else {
      if (word.size() >= 4 && !common.contains(word)) found.insert(word);
      word.clear();
    }
  }
  return found;
}

std::size_t n_common(const std::set<std::string>& a, const std::set<std::string>& b) {
  return static_cast<std::size_t>(
      std::count_if(a.begin(), a.end(), [&](const std::string& word) { return b.contains(word); }));
}

TEST(Association, questions_share_no_word_with_their_facts_and_controls_do) {
  const json facts = read("associations")["facts"];
  ASSERT_GE(facts.size(), 20U);
  for (const json& fact : facts) {
    const auto needle = content_words(fact["needle"]);
    EXPECT_EQ(n_common(needle, content_words(fact["question"])), 0U) << fact;
    EXPECT_GE(n_common(needle, content_words(fact["direct"])), 2U) << fact;
  }
}

TEST(Association, names_do_not_occur_in_the_filler) {
  const std::string filler = read("prose").dump();
  const json all = read("associations");
  ASSERT_GE(all["names"].size(), 20U);
  for (const json& name : all["names"]) {
    EXPECT_EQ(filler.find(name.get<std::string>()), std::string::npos) << name;
  }
}

TEST(Association, four_people_have_facts_and_one_is_asked_for) {
  const auto task = make_task("association");
  const json all = read("associations");
  for (std::int64_t i = 0; i < 20; ++i) {
    const Sample sample = task->make({600, 7, {}}, i, words());
    std::set<std::string> people;
    for (const json& name : all["names"]) {
      if (sample.prompt.find(name.get<std::string>()) != std::string::npos) people.insert(name);
    }
    EXPECT_EQ(people.size(), 4U);
    EXPECT_TRUE(people.contains(sample.references.at(0)));
    // Naming everybody's neighbour is no answer.
    EXPECT_EQ(find_scorer("nolima").score(sample.references, {"Nobody", false, {}}).value, 0);
  }
}

TEST(Association, the_control_differs_in_its_question_alone) {
  for (std::int64_t i = 0; i < 5; ++i) {
    const Sample hard = make_task("association")->make({600, 7, {}}, i, words());
    const Sample easy = make_task("association_direct")->make({600, 7, {}}, i, words());
    EXPECT_EQ(hard.references, easy.references);
    EXPECT_NE(hard.prompt, easy.prompt);
    EXPECT_EQ(hard.prompt.substr(0, 300), easy.prompt.substr(0, 300));
  }
}

TEST(Association, facts_lie_at_every_depth) {
  std::set<int> tenths;
  for (std::int64_t i = 0; i < 100; ++i) {
    const Sample sample = make_task("association")->make({1200, 7, {}}, i, words());
    tenths.insert(static_cast<int>(*sample.depth_pct / 10));
  }
  EXPECT_GE(tenths.size(), 9U);
}

TEST(Turns, equal_requests_have_different_answers_and_the_asked_one_is_the_reference) {
  for (const auto& [name, n] : {std::pair{"turns_2", 2}, {"turns_4", 4}, {"turns_8", 8}}) {
    const auto task = make_task(name);
    for (std::int64_t i = 0; i < 10; ++i) {
      const Sample sample = task->make({2500, 3, {}}, i, words());
      ASSERT_EQ(sample.references.size(), 2U);
      const std::string& tag = sample.references[1];
      const std::string text = sample.references[0].substr(tag.size());
      EXPECT_TRUE(sample.references[0].starts_with(tag));
      // The turn that holds the answer tells which request is repeated.
      const std::size_t at = sample.prompt.find("Assistant:\n" + text);
      ASSERT_NE(at, std::string::npos);
      const std::size_t user = sample.prompt.rfind("User:\n", at);
      const std::string request = sample.prompt.substr(user, at - user);
      int equal = 0;
      int before = 0;
      for (std::size_t found = sample.prompt.find(request); found != std::string::npos;
           found = sample.prompt.find(request, found + 1)) {
        before += found < user ? 1 : 0;
        ++equal;
      }
      EXPECT_EQ(equal, n) << name;
      const char* ordinals[] = {"first", "second", "third",   "fourth",
                                "fifth", "sixth",  "seventh", "eighth"};
      EXPECT_NE(sample.prompt.rfind(std::string("Repeat the ") + ordinals[before] + " "),
                std::string::npos);
      EXPECT_TRUE(sample.prompt.ends_with("\n\nAssistant:\n"));
      EXPECT_EQ(find_scorer("mrcr").score(sample.references, {tag + text, false, {}}).value, 1);
      EXPECT_EQ(find_scorer("mrcr").score(sample.references, {text, false, {}}).value, 0);
    }
  }
}

}  // namespace
}  // namespace sala
