// What every task owes: purity, the limit, the prefix, and clear errors.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <regex>
#include <set>

#include "engine/base/error.h"
#include "harness/scorer.h"
#include "harness/task.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

const Tokenizer& tiny() {
  static const auto tokenizer =
      load_tokenizer(fs::path(SALA_TEST_SOURCE_DIR) / "tests/golden/data/tiny_tokenizer");
  return *tokenizer;
}

std::int64_t used(const Sample& sample) {
  return static_cast<std::int64_t>(sample.prompt_ids.size()) + sample.max_new_tokens;
}

std::string error_of(const Task& task, const TaskOptions& options, std::int64_t i = 0) {
  try {
    task.make(options, i, tiny());
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// Tasks that keep to a length and need no user's files, which is most of them.
std::vector<std::string> sized_tasks() {
  std::vector<std::string> names = task_names();
  std::erase_if(names, [](const auto& name) {
    return error_of(*make_task(name), {0, 5, {}}).find("smallest length") == std::string::npos;
  });
  EXPECT_GE(names.size(), 16U);
  return names;
}

TEST(Tasks, names_are_sorted_and_unique_and_each_has_a_scorer) {
  const auto names = task_names();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  for (const auto& name : names) {
    const auto task = make_task(name);
    EXPECT_EQ(task->info().name, name);
    EXPECT_FALSE(task->info().summary.empty());
    EXPECT_EQ(find_scorer(task->info().scorer).name, task->info().scorer);
  }
}

TEST(Tasks, an_unknown_name_lists_the_known_ones) {
  try {
    make_task("niah_single_9");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("niah_single_1"), std::string::npos) << error.what();
  }
}

TEST(Tasks, samples_are_pure_in_any_order) {
  for (const auto& name : sized_tasks()) {
    const auto task = make_task(name);
    const TaskOptions options{1700, 9, {}};
    std::vector<Sample> forward;
    forward.reserve(4);
    for (std::int64_t i = 0; i < 4; ++i) forward.push_back(task->make(options, i, tiny()));
    const auto again = make_task(name);
    for (std::int64_t i = 3; i >= 0; --i) {
      const Sample sample = again->make(options, i, tiny());
      const Sample& other = forward[static_cast<std::size_t>(i)];
      EXPECT_EQ(sample.index, i);
      EXPECT_EQ(sample.prompt, other.prompt) << name;
      EXPECT_EQ(sample.prompt_ids, other.prompt_ids) << name;
      EXPECT_EQ(sample.references, other.references) << name;
      EXPECT_EQ(sample.cluster, other.cluster) << name;
      EXPECT_EQ(sample.depth_pct, other.depth_pct) << name;
    }
  }
}

TEST(Tasks, samples_may_be_made_by_several_threads_at_once) {
  for (const auto& name : sized_tasks()) {
    const auto alone = make_task(name);
    const auto shared = make_task(name);
    const TaskOptions options{1700, 9, {}};
    std::vector<std::future<std::string>> prompts;
    prompts.reserve(6);
    for (std::int64_t i = 0; i < 6; ++i) {
      prompts.push_back(std::async(std::launch::async,
                                   [&, i] { return shared->make(options, i, tiny()).prompt; }));
    }
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      EXPECT_EQ(prompts[i].get(), alone->make(options, static_cast<std::int64_t>(i), tiny()).prompt)
          << name;
    }
  }
}

TEST(Tasks, the_ids_are_bos_and_the_encoding_of_a_prompt_that_ends_with_its_prefix) {
  for (const auto& name : sized_tasks()) {
    const Sample sample = make_task(name)->make({1900, 1, {}}, 2, tiny());
    std::vector<TokenId> expected{*tiny().bos()};
    const Encoding encoding = tiny().encode(sample.prompt);
    expected.insert(expected.end(), encoding.ids.begin(), encoding.ids.end());
    EXPECT_EQ(sample.prompt_ids, expected) << name;
    EXPECT_TRUE(sample.prompt.ends_with(sample.answer_prefix)) << name;
    EXPECT_FALSE(sample.cluster.empty()) << name;
  }
}

TEST(Tasks, the_limit_is_never_exceeded_and_never_missed_by_more_than_a_unit) {
  const auto whitespace = make_whitespace_tokenizer();
  // Tokens of the largest unit: a UUID needle, a paragraph, a turn.
  const auto unit = [](const std::string& name, bool bytes) {
    if (name.starts_with("qa_")) return bytes ? 420 : 120;
    if (name.starts_with("turns_")) return bytes ? 250 : 80;
    return bytes ? 125 : 30;
  };
  for (const auto& name : sized_tasks()) {
    const auto task = make_task(name);
    for (const std::int64_t length : {1700, 1701, 1777, 2048, 3047, 4000}) {
      for (std::int64_t i = 0; i < 4; ++i) {
        const std::int64_t n_bytes = used(task->make({length, 3, {}}, i, tiny()));
        EXPECT_LE(n_bytes, length) << name;
        EXPECT_GT(n_bytes, length - unit(name, true)) << name;
        const std::int64_t n_words = used(task->make({length, 3, {}}, i, *whitespace));
        EXPECT_LE(n_words, length) << name;
        EXPECT_GT(n_words, length - unit(name, false)) << name;
      }
    }
  }
}

TEST(Tasks, a_length_that_is_too_small_names_the_smallest_that_works) {
  const std::regex smallest(R"(smallest length that works is (\d+))");
  for (const auto& name : sized_tasks()) {
    const auto task = make_task(name);
    const std::string message = error_of(*task, {0, 5, {}});
    std::smatch found;
    ASSERT_TRUE(std::regex_search(message, found, smallest)) << name << ": " << message;
    const std::int64_t works = std::stoll(found[1]);
    for (std::int64_t i = 0; i < 100; ++i) {
      EXPECT_LE(used(task->make({works, 5, {}}, i, tiny())), works) << name;
    }
    bool all_work_below = true;
    for (std::int64_t i = 0; i < 100 && all_work_below; ++i) {
      all_work_below = error_of(*task, {works - 1, 5, {}}, i).empty();
    }
    EXPECT_FALSE(all_work_below) << name << " " << works;
  }
  for (const std::int64_t length : {-1, 1, 20}) {
    const auto message = error_of(*make_task("passkey"), {length, 5, {}});
    EXPECT_TRUE(std::regex_search(message, smallest)) << message;
  }
}

TEST(Tasks, a_negative_sample_is_an_error) {
  EXPECT_NE(error_of(*make_task("passkey"), {500, 1, {}}, -1), "");
}

TEST(Tasks, users_texts_replace_the_prose_but_not_the_noise) {
  const std::string missing = "/nonexistent/text.txt";
  const auto names_it = [&](const std::string& name) {
    return error_of(*make_task(name), {3000, 1, {missing}}).find(missing) != std::string::npos;
  };
  for (const char* name : {"needle_grid", "niah_multikey_1", "niah_multiquery", "niah_multivalue",
                           "niah_single_2", "niah_single_3", "perplexity", "qa_1", "qa_2"}) {
    EXPECT_TRUE(names_it(name)) << name;
  }
  for (const char* name :
       {"cwe", "fwe", "niah_multikey_2", "niah_multikey_3", "niah_single_1", "passkey", "vt"}) {
    EXPECT_FALSE(names_it(name)) << name;
  }
}

TEST(Tasks, what_a_folder_of_rulers_files_lacks_is_built_in_and_marked) {
  const fs::path folder = fs::path(testing::TempDir()) / "sala_some_of_ruler";
  fs::create_directories(folder);
  std::ofstream(folder / "hotpotqa.json") << R"([{"_id": "x", "question": "q?", "answer": "yes",
      "context": [["T1", ["First."]]]}, {"_id": "y", "question": "q?", "answer": "no",
      "context": [["T2", ["Second."]]]}])";
  TaskOptions options{3000, 1, {folder.string()}};
  for (const auto& [name, source] :
       std::map<std::string, std::string>{{"niah_single_2", "built-in prose"},
                                          {"qa_1", "built-in questions"},
                                          {"qa_2", "hotpotqa.json"},
                                          {"cwe", "built-in words"}}) {
    const auto sources = make_task(name)->sources(options);
    EXPECT_EQ(sources.back().name, source) << name;
    EXPECT_TRUE(sources.back().standin) << name;
    EXPECT_EQ(error_of(*make_task(name), options), "") << name;
  }
  options.mode = "official";
  EXPECT_NE(error_of(*make_task("qa_1"), options).find("squad.json"), std::string::npos);
  fs::remove(folder / "hotpotqa.json");
  std::ofstream(folder / "other.md") << "This is not a text that tasks read.";
  options.mode = "strict";
  EXPECT_NE(error_of(*make_task("niah_single_2"), options).find("neither essay.json"),
            std::string::npos);
  fs::remove_all(folder);
}

/// Names a data folder for as long as it lives.
class DataFolder {
 public:
  explicit DataFolder(const std::string& prose) {
    fs::create_directories(path / "text");
    fs::remove(path / "text/prose.json");
    if (!prose.empty()) std::ofstream(path / "text/prose.json") << prose;
    setenv("SALA_DATA_DIR", path.c_str(), 1);
  }
  ~DataFolder() {
    unsetenv("SALA_DATA_DIR");
    fs::remove_all(path);
  }
  DataFolder(const DataFolder&) = delete;
  DataFolder& operator=(const DataFolder&) = delete;

  const fs::path path = fs::path(testing::TempDir()) / "sala_data_folder";
};

TEST(Tasks, a_missing_data_folder_is_named) {
  const DataFolder folder("");
  const std::string message = error_of(*make_task("niah_single_2"), {900, 1, {}});
  EXPECT_NE(message.find("prose.json"), std::string::npos) << message;
  EXPECT_NE(message.find("sala_data_folder"), std::string::npos) << message;
}

TEST(Tasks, keys_are_drawn_again_until_they_differ) {
  const DataFolder folder(R"({"lists": {"adjective": ["old", "red"], "noun": ["cat", "owl", "fox"]},
                              "sentences": ["the {noun} is {adjective}."]})");
  const std::regex needle(R"(numbers for (\S+) is: )");
  const auto task = make_task("niah_multikey_1");
  for (std::int64_t i = 0; i < 20; ++i) {
    const Sample sample = task->make({900, 1, {}}, i, tiny());
    std::set<std::string> keys;
    for (std::sregex_iterator at(sample.prompt.begin(), sample.prompt.end(), needle), end;
         at != end; ++at) {
      keys.insert((*at)[1]);
    }
    EXPECT_EQ(keys.size(), 4U);
  }
  // Six pairs cannot name a page of different needles.
  const std::string message = error_of(*make_task("niah_multikey_2"), {2000, 1, {}});
  EXPECT_NE(message.find("too few"), std::string::npos) << message;
}

}  // namespace
}  // namespace sala
