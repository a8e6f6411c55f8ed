// Suite files and what the command line changes in them.
// SPDX-License-Identifier: Apache-2.0
#include "harness/plan/suite.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "engine/base/data_dir.h"
#include "engine/base/error.h"
#include "harness/plan/sizes.h"
#include "tests/expect_error.h"

namespace sala {
namespace {

constexpr const char* kSuite = R"(
name = "mine"
seed = 7
[[cells]]
tasks = ["a", "b"]
lengths = "1k,2k"
samples = 10
[[cells]]
tasks = ["a"]
lengths = "4k"
samples = 3
)";

std::vector<std::string> shown(const Suite& suite) {
  std::vector<std::string> cells;
  cells.reserve(suite.cells.size());
  for (const SuiteCell& cell : suite.cells) {
    cells.push_back(fmt::format("{}@{}x{}", cell.task, cell.length, cell.samples));
  }
  return cells;
}
using Cells = std::vector<std::string>;

std::string message_of(const std::string& text) {
  try {
    parse_suite(text, "my.toml");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Suite, groups_expand_to_tasks_times_lengths) {
  const Suite suite = parse_suite(kSuite, "kSuite");
  EXPECT_EQ(suite.name, "mine");
  EXPECT_EQ(suite.seed, 7U);
  EXPECT_EQ(suite.kind, "accuracy");
  EXPECT_EQ(shown(suite), (Cells{"a@1024x10", "b@1024x10", "a@2048x10", "b@2048x10", "a@4096x3"}));
}

TEST(Suite, without_overrides_only_the_order_may_change) {
  Suite suite = parse_suite(kSuite, "kSuite");
  override_suite(suite, {});
  EXPECT_EQ(shown(suite), (Cells{"a@1024x10", "a@2048x10", "a@4096x3", "b@1024x10", "b@2048x10"}));
}

TEST(Suite, a_new_length_takes_the_samples_of_the_longest_one_below) {
  Suite suite = parse_suite(kSuite, "kSuite");
  override_suite(suite, {.tasks = {}, .lengths = {512, 3000, 8192}, .samples = {}, .seed = 9});
  EXPECT_EQ(suite.seed, 9U);
  EXPECT_EQ(shown(suite),
            (Cells{"a@512x10", "a@3000x10", "a@8192x3", "b@512x10", "b@3000x10", "b@8192x10"}));
}

TEST(Suite, tasks_and_samples_can_be_replaced) {
  Suite suite = parse_suite(kSuite, "kSuite");
  override_suite(suite, {.tasks = {"c"}, .lengths = {}, .samples = 2, .seed = {}});
  EXPECT_EQ(shown(suite), (Cells{"c@1024x2", "c@2048x2", "c@4096x2"}));
}

TEST(Suite, overrides_out_of_range_are_refused) {
  Suite suite = parse_suite(kSuite, "kSuite");
  EXPECT_THROW(override_suite(suite, {.tasks = {}, .lengths = {}, .samples = 0, .seed = {}}),
               Error);
  EXPECT_THROW(override_suite(suite, {.tasks = {}, .lengths = {}, .samples = {}, .seed = ~0ULL}),
               Error);
}

TEST(Suite, errors_name_the_file_and_the_key) {
  const std::string group = "[[cells]]\ntasks=['a']\nlengths='1k'\nsamples=1\n";
  EXPECT_EQ(message_of("name = 'x'\n" + group), "no error");
  EXPECT_NE(message_of("name = \n").find("[my.toml] line 1"), std::string::npos);
  EXPECT_NE(message_of(group).find("'name' is missing"), std::string::npos);
  EXPECT_NE(message_of("name = 3\n" + group).find("'name' has the wrong type"), std::string::npos);
  EXPECT_NE(message_of("name = 'x'\nlength = 3\n" + group).find("unknown key 'length'"),
            std::string::npos);
  EXPECT_NE(message_of("name = 'x'\n").find("no [[cells]]"), std::string::npos);
  EXPECT_NE(message_of("name = 'x'\ncells = 1\n").find("no [[cells]]"), std::string::npos);
  EXPECT_NE(message_of("name = 'x'\nseed = -1\n" + group).find("'seed' is -1"), std::string::npos);
  EXPECT_NE(message_of("name = 'x'\nkind = 'speed'\n" + group).find("'kind' is 'speed'"),
            std::string::npos);
  EXPECT_NE(message_of("name = 'x'\nkind = 'perf'\n" + group).find("'new_tokens' is missing"),
            std::string::npos);
  EXPECT_NE(message_of("name = 'x'\nnew_tokens = 4\n" + group).find("'new_tokens' is for"),
            std::string::npos);
  EXPECT_NE(
      message_of("name = 'x'\n[[cells]]\ntasks=[1]\nlengths='1k'\nsamples=1\n").find("'tasks'"),
      std::string::npos);
  EXPECT_NE(
      message_of("name = 'x'\n[[cells]]\ntasks=[]\nlengths='1k'\nsamples=1\n").find("'tasks'"),
      std::string::npos);
  EXPECT_NE(message_of("name = 'x'\n[[cells]]\ntasks=['a']\nlengths='1k'\nsamples=0\n")
                .find("'samples' is 0"),
            std::string::npos);
  EXPECT_NE(message_of("name = 'x'\n[[cells]]\ntasks=['a']\nlengths='1q'\nsamples=1\n").find("1q"),
            std::string::npos);
  EXPECT_NE(message_of("name = 'x'\n" + group + group).find("twice"), std::string::npos);
}

TEST(Suite, every_suite_of_the_project_can_be_read_and_names_known_tasks) {
  int n_suites = 0;
  for (const auto& entry : std::filesystem::directory_iterator(data_dir() / "suites")) {
    const std::string name = entry.path().stem().string();
    const Suite suite = load_suite(name);
    EXPECT_EQ(suite.name, name);
    for (const SuiteCell& cell : suite.cells) {
      EXPECT_EQ(make_task(cell.task)->info().name, cell.task) << name;
    }
    ++n_suites;
  }
  EXPECT_GE(n_suites, 11);
  EXPECT_EQ(load_suite("speed").new_tokens, 64);
}

TEST(Suite, the_chat_template_is_the_models_own_unless_one_is_named) {
  Suite suite =
      parse_suite("name = 'x'\n[[cells]]\ntasks = ['a']\nlengths = '1k'\nsamples = 1\n", "x");
  EngineInfo model;
  EXPECT_EQ(task_options(suite, model, 1024).chat_template, "base");
  model.chat_template = "chatml";
  EXPECT_EQ(task_options(suite, model, 1024).chat_template, "chatml");
  model.name = "tuned";
  model.chat_template = "";
  testing::expect_error([&] { task_options(suite, model, 1024); },
                        {"--chat-template", "tuned", "base", "{task_template}"});
  SuiteOverrides overrides;
  overrides.chat_template = "Phi3";
  override_suite(suite, overrides);
  EXPECT_EQ(task_options(suite, model, 1024).chat_template, "Phi3");
}

TEST(Suite, mode_data_and_chat_template_are_the_suites_or_the_command_lines) {
  const std::string cells = "[[cells]]\ntasks = ['a']\nlengths = '1k'\nsamples = 1\n";
  Suite suite = parse_suite(
      "name = 'x'\nmode = 'official'\ndata = ['/a', '/b']\nchat_template = 'Phi3'\n" + cells, "x");
  TaskOptions options = task_options(suite, {}, 4096);
  EXPECT_EQ(options.length, 4096);
  EXPECT_EQ(options.mode, "official");
  EXPECT_EQ(options.data, (std::vector<std::string>{"/a", "/b"}));
  EXPECT_EQ(options.chat_template, "Phi3");
  SuiteOverrides overrides;
  overrides.mode = "strict";
  overrides.data = {"/c"};
  override_suite(suite, overrides);
  options = task_options(suite, {}, 4096);
  EXPECT_EQ(options.mode, "strict");
  EXPECT_EQ(options.data, std::vector<std::string>{"/c"});
  EXPECT_EQ(options.chat_template, "Phi3");
  EXPECT_EQ(parse_suite("name = 'x'\ndata = '/one'\n" + cells, "x").data,
            std::vector<std::string>{"/one"});
  EXPECT_THROW(parse_suite("name = 'x'\nmode = 'lax'\n" + cells, "x"), Error);
  EXPECT_THROW(parse_suite("name = 'x'\ndata = [1]\n" + cells, "x"), Error);
}

TEST(Suite, longer_speed_cells_than_the_suites_are_repeated_less) {
  const std::string cells = "[[cells]]\ntasks = ['a']\nlengths = '1k,2M'\nsamples = 9\n";
  SuiteOverrides overrides;
  overrides.lengths = parse_sizes("1k,4k,256k,1M,2M");
  const auto samples_of = [&](const std::string& head) {
    Suite suite = parse_suite(head + cells, "x");
    override_suite(suite, overrides);
    std::vector<std::int64_t> samples;
    samples.reserve(suite.cells.size());
    for (const SuiteCell& cell : suite.cells) samples.push_back(cell.samples);
    return samples;
  };
  EXPECT_EQ(samples_of("name = 'x'\nkind = 'perf'\nnew_tokens = 4\n"),
            (std::vector<std::int64_t>{9, 5, 3, 1, 9}));
  EXPECT_EQ(samples_of("name = 'x'\n"), (std::vector<std::int64_t>{9, 9, 9, 9, 9}));
  overrides.samples = 2;
  EXPECT_EQ(samples_of("name = 'x'\nkind = 'perf'\nnew_tokens = 4\n"),
            (std::vector<std::int64_t>{2, 2, 2, 2, 2}));
}

TEST(Suite, an_unknown_name_lists_the_suites) {
  try {
    load_suite("nope");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("quick, ruler, speed"), std::string::npos);
  }
  EXPECT_THROW(load_suite("/nowhere/x.toml"), Error);
}

}  // namespace
}  // namespace sala
