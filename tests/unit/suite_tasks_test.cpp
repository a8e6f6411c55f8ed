// Tasks over official files: prompts to the byte, rows in order, and what is wrong with bad files.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "engine/base/error.h"
#include "harness/runner/guards.h"
#include "harness/scorer.h"
#include "tasks/suites/csv.h"
#include "tests/suite_fixture.h"

namespace sala::testing {
namespace {

const Tokenizer& tiny() {
  static const auto tokenizer = load_tokenizer(std::filesystem::path(SALA_TEST_SOURCE_DIR) /
                                               "tests/golden/data/tiny_tokenizer");
  return *tokenizer;
}

/// The only length at which a task's fixture has rows, as far as that matters.
std::int64_t length_of(const std::string& task) {
  if (task.starts_with("babilong")) return 1024;
  if (task.starts_with("mrcr")) {
    for (std::int64_t length = 1024;; length *= 2) {
      static const SuiteFixture fixture;
      if (make_task(task)->count({length, 42, fixture.data()}, tiny()) > 0) return length;
    }
  }
  if (task.ends_with("math_calc")) return 34000;
  return task.starts_with("nolima") ? 1000 : 4096;
}

std::vector<std::string> suite_tasks() {
  std::vector<std::string> names;
  for (const std::string& name : task_names()) {
    if (!make_task(name)->info().needs_data.empty()) names.push_back(name);
  }
  return names;
}

class SuiteTasks : public ::testing::Test {
 protected:
  Sample make(const std::string& task, std::int64_t i = 0, const std::string& mode = "strict") {
    TaskOptions options{length_of(task), 42, fixture_.data()};
    options.mode = mode;
    return make_task(task)->make(options, i, tiny());
  }
  std::string error_of(const std::string& task, std::int64_t i = 0) {
    try {
      make(task, i);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  SuiteFixture fixture_;
};

TEST_F(SuiteTasks, each_passes_the_guards_and_its_scorer_can_give_full_marks) {
  EXPECT_GT(suite_tasks().size(), 70U);
  for (const std::string& name : suite_tasks()) {
    const auto task = make_task(name);
    const Sample sample = make(name);
    EXPECT_NO_THROW(check_prompt(task->info(), sample, length_of(name), tiny())) << name;
    EXPECT_FALSE(sample.cluster.empty()) << name;
    std::string answer = sample.references[0];
    if (name == "niah_grid" || name == "niah_grid_sigmoid") answer = "Eat a sandwich, Dolores Park";
    if (name.starts_with("longbench2")) answer = fmt::format("The correct answer is ({}).", answer);
    if (name.ends_with("math_calc")) {
      answer = name.find("gpt4") != std::string::npos ? "9 1 2 3" : "1 2 3";
    }
    if (name.ends_with("code_debug")) answer.insert(0, "The answer is: ");
    const double value =
        find_scorer(task->info().scorer).score(sample.references, {answer, false, {}}).value;
    EXPECT_NEAR(value, 1, 1e-6) << name;  // ROUGE of equal texts is not quite 1
  }
}

TEST_F(SuiteTasks, samples_end_where_the_rows_end) {
  for (const std::string& name : suite_tasks()) {
    const auto task = make_task(name);
    const std::int64_t n = task->count({length_of(name), 42, fixture_.data()}, tiny());
    EXPECT_GT(n, 0) << name;
    EXPECT_NO_THROW(make(name, n - 1)) << name;
    EXPECT_THROW(make(name, n), Error) << name;
    EXPECT_THROW(make(name, -1), Error) << name;
  }
}

TEST_F(SuiteTasks, without_data_the_error_says_what_to_bring) {
  for (const std::string& name : suite_tasks()) {
    try {
      make_task(name)->make({4096, 42, {}}, 0, tiny());
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("there is no --data folder; bring it from"), std::string::npos) << text;
    }
  }
}

TEST_F(SuiteTasks, sources_are_the_files_with_their_hashes) {
  const auto sources = make_task("nolima")->sources({1000, 42, fixture_.data()});
  ASSERT_EQ(sources.size(), 3U);
  EXPECT_EQ(sources[0].name, "nolima/needlesets/needle_set.json");
  EXPECT_EQ(sources[1].name, "nolima/haystack/rand_shuffle/rand_book_1.txt");
  for (const TaskSource& source : sources) {
    EXPECT_EQ(source.sha256.size(), 64U);
    EXPECT_FALSE(source.standin);
  }
}

TEST_F(SuiteTasks, babilong_prompt_is_the_published_one) {
  const Sample sample = make("babilong_qa1");
  EXPECT_TRUE(
      sample.prompt.starts_with("I will give you context with the facts about positions of "
                                "different persons hidden in some random text"));
  EXPECT_TRUE(
      sample.prompt.ends_with("\n\n<context>\nMary went to the kitchen.\nIt "
                              "rained.\n</context>\n\nQuestion: Where is Mary?"));
  EXPECT_NE(sample.prompt.find("The most recent location of \u2019person\u2019"),
            std::string::npos);
  EXPECT_EQ(sample.max_new_tokens, 20);
  const std::string text = [&] {
    try {
      make_task("babilong_qa1")->make({3000, 42, fixture_.data()}, 0, tiny());
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  }();
  EXPECT_NE(text.find("there are no rows of length 3000"), std::string::npos) << text;
}

TEST_F(SuiteTasks, longbench_keeps_both_ends_of_a_long_prompt_and_says_so) {
  const auto task = make_task("longbench_narrativeqa");
  const Sample whole = task->make({4096, 42, fixture_.data()}, 0, tiny());
  EXPECT_EQ(whole.n_left_out, 0);
  EXPECT_NE(whole.prompt.find("asconcisely"), std::string::npos);
  const Sample cut = task->make({1000, 42, fixture_.data()}, 0, tiny());
  EXPECT_GT(cut.n_left_out, 0);
  EXPECT_LE(static_cast<std::int64_t>(cut.prompt_ids.size()) + cut.max_new_tokens, 1000);
  EXPECT_GT(static_cast<std::int64_t>(cut.prompt_ids.size()) + cut.max_new_tokens, 990);
  EXPECT_EQ(cut.prompt.substr(0, 300), whole.prompt.substr(0, 300));
  EXPECT_TRUE(cut.prompt.ends_with("Question: What is it?\n\nAnswer:"));
  EXPECT_EQ(cut.answer_prefix, "Answer:");
}

TEST_F(SuiteTasks, a_cut_inside_a_character_leaves_valid_text) {
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "\u8bf7\u6839";
  fixture_.write("longbench/qasper.jsonl",
                 nlohmann::json{{"input", "q"}, {"context", text}, {"answers", {"a"}}}.dump());
  for (const std::int64_t length : {1000, 1001, 1002, 1003}) {
    const Sample sample =
        make_task("longbench_qasper")->make({length, 42, fixture_.data()}, 0, tiny());
    EXPECT_LE(static_cast<std::int64_t>(sample.prompt_ids.size()) + 128, length);
  }
}

TEST_F(SuiteTasks, chat_turns_hold_the_prompt_where_the_benchmark_wants_one) {
  TaskOptions options{4096, 42, fixture_.data()};
  options.chat_template = "<u>{task_template}</u><a>";
  EXPECT_TRUE(
      make_task("longbench_hotpotqa")->make(options, 0, tiny()).prompt.ends_with("</u><a>"));
  EXPECT_TRUE(
      make_task("longbench_trec")->make(options, 0, tiny()).prompt.ends_with("What is it?"));
  EXPECT_THROW(make_task("mrcr_2needle")->make(options, 0, tiny()), Error);
}

TEST_F(SuiteTasks, rows_carry_the_groups_of_the_benchmarks_own_breakdown) {
  EXPECT_EQ(make("longbench2").groups, (std::vector<std::string>{"easy", "short"}));
  EXPECT_TRUE(make("longbench_qasper").groups.empty());
  const std::map<std::string, std::string> bands{
      {"3999", "0-4k"}, {"4000", "4-8k"}, {"7999", "4-8k"}, {"8000", "8k+"}, {"3999.5", "0-4k"}};
  for (const auto& [length, band] : bands) {
    fixture_.write("longbench/qasper_e.jsonl",
                   R"({"input": "q", "context": "c", "answers": ["a"], "length": )" + length + "}");
    const Sample sample = make("longbench_e_qasper");
    EXPECT_EQ(sample.groups, std::vector<std::string>{band}) << length;
    EXPECT_TRUE(sample.prompt.starts_with("You are given a scientific article and a question."));
  }
  fixture_.write("longbench/qasper_e.jsonl",
                 R"({"input": "q", "context": "c", "answers": ["a"], "length": "long"})");
  EXPECT_NE(error_of("longbench_e_qasper").find("'length' is no number"), std::string::npos);
}

TEST_F(SuiteTasks, longbench2_official_mode_keeps_the_published_mistake) {
  EXPECT_NE(make("longbench2", 0, "strict").prompt.find("costs $Q$ and"), std::string::npos);
  EXPECT_NE(make("longbench2", 0, "official").prompt.find("costs Which one? and"),
            std::string::npos);
  EXPECT_EQ(make("longbench2_no_context").prompt.find("costs"), std::string::npos);
}

TEST_F(SuiteTasks, infinitebench_fills_its_slots) {
  EXPECT_NE(
      make("infinitebench_code_run")
          .prompt.find("Please compute the exact value of func_1(-3). The value of func_1(-3) is"),
      std::string::npos);
  EXPECT_TRUE(make("infinitebench_math_find")
                  .prompt.starts_with("What is the largest number in the following list?\n\n"));
  EXPECT_EQ(make("infinitebench_longbook_choice_eng").references,
            (std::vector<std::string>{"three", "C"}));
  EXPECT_EQ(make("infinitebench_passkey").answer_prefix, "The pass key is");
  EXPECT_NE(make("infinitebench_passkey").prompt, make("infinitebench_gpt4_passkey").prompt);
}

TEST_F(SuiteTasks, mrcr_renders_turns_and_bins_by_length) {
  const Sample sample = make("mrcr_2needle");
  EXPECT_TRUE(sample.prompt.starts_with("User: Write about boats.\n\nAssistant: Boats number 0"));
  EXPECT_TRUE(sample.prompt.ends_with("User: Prepend xyz to the second one.\n\nAssistant:"));
  const std::int64_t length = length_of("mrcr_2needle");
  const auto used = static_cast<std::int64_t>(sample.prompt_ids.size()) + sample.max_new_tokens;
  EXPECT_GT(used, length / 2);
  EXPECT_LE(used, length);
  EXPECT_EQ(make_task("mrcr_2needle")->count({2 * length, 42, fixture_.data()}, tiny()), 0);
  EXPECT_TRUE(make("mrcr_v2").prompt.ends_with("say \"that\" again"));
}

TEST_F(SuiteTasks, nolima_places_one_name_and_asks_for_it) {
  const auto task = make_task("nolima");
  EXPECT_EQ(task->count({1000, 42, fixture_.data()}, tiny()), 2 * 2 * 26);
  std::set<std::int64_t> depths;
  for (std::int64_t i = 0; i < 26; ++i) {
    const Sample sample = make("nolima", i, "official");
    ASSERT_EQ(sample.references.size(), 1U);
    EXPECT_NE(sample.prompt.find("\n Actually, " + sample.references[0] +
                                 " lives next to the Kiasma") == std::string::npos,
              sample.prompt.find(" Actually, " + sample.references[0] +
                                 " lives next to the Semper") == std::string::npos);
    EXPECT_TRUE(sample.prompt.ends_with(
        "\n\n Return only the final answer with no additional explanation or reasoning."));
    // The needle lies near i/25 of the haystack, after the words around it.
    EXPECT_NEAR(*sample.depth_pct, 4.0 * static_cast<double>(i), 40);
    depths.insert(std::lround(*sample.depth_pct));
  }
  EXPECT_GT(depths.size(), 15U);
}

TEST_F(SuiteTasks, nolima_fills_the_question_as_published_or_whole) {
  // {2} is the last argument, so that both modes agree here; {1} in a question tells them apart.
  EXPECT_NE(make("nolima", 0, "official").prompt.find("Question: Which character has been to "),
            std::string::npos);
  const Sample strict = make("nolima", 5, "strict");
  EXPECT_EQ(strict.prompt.find("{2}"), std::string::npos);
}

TEST_F(SuiteTasks, the_needle_grid_ends_sentences_before_the_needle) {
  const auto task = make_task("niah_grid");
  ASSERT_EQ(task->count({2000, 42, fixture_.data()}, tiny()), 35);
  for (const std::int64_t i : {0, 10, 20, 34}) {
    const Sample sample = task->make({2000, 42, fixture_.data()}, i, tiny());
    const std::size_t at = sample.prompt.find("\nThe best thing to do in San Francisco is eat");
    ASSERT_NE(at, std::string::npos);
    if (i == 0) {
      EXPECT_EQ(sample.prompt.substr(at - 10, 10), "<context>\n");
    } else if (i < 34) {
      EXPECT_EQ(sample.prompt[at - 1], '.');
    }
    EXPECT_EQ(sample.answer_prefix,
              "Assistant: Here is the most relevant sentence in the context:");
  }
}

TEST_F(SuiteTasks, damaged_files_are_named_with_the_line) {
  fixture_.write("longbench/qasper.jsonl", R"({"input": "q", "context": "c", "answers": ["a"]})"
                                           "\n{\"input\": \"q\", \"cont");
  EXPECT_NE(error_of("longbench_qasper", 1).find("qasper.jsonl line 2"), std::string::npos);
  fixture_.write("longbench/qasper.jsonl", "{\"context\": \"c\"}\n");
  EXPECT_NE(error_of("longbench_qasper").find("has no field 'input'"), std::string::npos);
  fixture_.write("longbench/qasper.jsonl", "\n\n");
  EXPECT_NE(error_of("longbench_qasper").find("holds no rows"), std::string::npos);
  fixture_.write("longbench/qasper.jsonl", "{\"input\": \"\xff\", \"context\": \"c\"}\n");
  EXPECT_NE(error_of("longbench_qasper").find("line 1"), std::string::npos);
  fixture_.write("longbench2/data.json", "[{\"question\": 1}, ");
  EXPECT_NE(error_of("longbench2").find("cut-off"), std::string::npos);
}

TEST_F(SuiteTasks, files_that_are_not_utf8_are_named) {
  for (const auto& [task, file] : std::vector<std::pair<std::string, std::string>>{
           {"niah_grid", "niah/a.txt"},
           {"nolima", "nolima/haystack/rand_shuffle/rand_book_1.txt"},
           {"mrcr_v2", "mrcr_v2/eight.csv"}}) {
    fixture_.write(file, "queries,answer\nnot \xff text,x\n");
    EXPECT_THROW(
        {
          try {
            make_task(task)->make({1000, 42, fixture_.data()}, 0, tiny());
          } catch (const Error& error) {
            EXPECT_NE(std::string(error.what()).find(file + "] not valid UTF-8 at byte 19 (0xFF)"),
                      std::string::npos)
                << error.what();
            throw;
          }
        },
        Error)
        << task;
  }
}

TEST_F(SuiteTasks, a_book_that_a_length_needs_more_of_is_named) {
  try {
    make_task("nolima")->make({32000000, 42, fixture_.data()}, 0, tiny());
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("too few for a length of 32000000"), std::string::npos)
        << error.what();
  }
}

TEST(Csv, fields_may_hold_line_breaks_commas_and_quotes) {
  const auto rows = read_csv("a,b\r\n\"x,\n\"\"y\"\"\",2\n,\n", "test");
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0], (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(rows[1], (std::vector<std::string>{"x,\n\"y\"", "2"}));
  EXPECT_EQ(rows[2], (std::vector<std::string>{"", ""}));
  EXPECT_THROW(read_csv("a,b\n\"x", "test"), Error);
  EXPECT_THROW(read_csv("a,b\n1,2,3\n", "test"), Error);
}

}  // namespace
}  // namespace sala::testing
