// Official mode against the output of RULER's own generators, byte for byte.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/base/mapped_file.h"
#include "engine/base/sha256.h"
#include "harness/task.h"
#include "tasks/ruler/fwe.h"
#include "tasks/ruler/jsonl.h"
#include "tasks/ruler/words.h"

namespace sala {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// A folder of golden files with its index.json, and the inputs they were made from. The index may
/// name a folder of more inputs for a file.
struct Goldens {
  fs::path folder;
  std::vector<std::string> data;
};

/// The complete set, where it is: SALA_GOLDENS, or beside the source tree.
fs::path complete_folder() {
  if (const char* given = std::getenv("SALA_GOLDENS")) return given;
  return fs::path(SALA_TEST_SOURCE_DIR).parent_path() / "shared/goldens";
}

/// The part that is in this repository.
Goldens committed() {
  const fs::path folder = fs::path(SALA_TEST_SOURCE_DIR) / "tests/golden/data/ruler";
  return {folder, {}};  // none of its tasks reads data
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end == std::string::npos ? text.size() : end + 1;
  }
  return lines;
}

/// Where two lines part, with what comes before.
std::string difference(const std::string& made, const std::string& golden) {
  std::size_t at = 0;
  while (at < made.size() && at < golden.size() && made[at] == golden[at]) ++at;
  const std::size_t from = at < 40 ? 0 : at - 40;
  return "byte " + std::to_string(at) + "\n  made   ..." + made.substr(from, 120) +
         "\n  golden ..." + golden.substr(from, 120);
}

/// Makes every sample of every file of an index again.
void reproduce(const Goldens& goldens) {
  const auto tokenizer = make_whitespace_tokenizer();
  const json index = json::parse(read_text_file(goldens.folder / "index.json"));
  std::size_t n_files = 0;
  for (const json& row : index) {
    const std::string file = row["file"];
    SCOPED_TRACE(file);
    TaskOptions options{row["length"], row["seed"], goldens.data, "official", row["template"]};
    if (row.contains("data")) {
      options.data.push_back((goldens.folder / row["data"].get<std::string>()).string());
    }
    const auto task = make_task(row["task"].get<std::string>());
    const auto golden = lines_of(read_text_file(goldens.folder / file));
    ASSERT_FALSE(golden.empty());
    std::size_t n_equal = 0;
    for (std::size_t i = 0; i < golden.size(); ++i) {
      const Sample sample = task->make(options, static_cast<std::int64_t>(i), *tokenizer);
      const std::string made = ruler_jsonl(sample, task->info(), options, *tokenizer);
      if (made == golden[i]) {
        ++n_equal;
      } else if (n_equal == i) {
        ADD_FAILURE() << "sample " << i << ", " << difference(made, golden[i]);
      }
    }
    EXPECT_EQ(n_equal, golden.size());
    std::printf("%s: %zu of %zu samples byte-identical\n", file.c_str(), n_equal, golden.size());
    ++n_files;
  }
  EXPECT_GT(n_files, 0U);
}

TEST(RulerGolden, every_committed_file_is_reproduced) {
  reproduce(committed());
}

TEST(RulerGolden, every_file_of_the_complete_set_is_reproduced) {
  const fs::path folder = complete_folder();
  if (!fs::exists(folder / "ruler/index.json")) GTEST_SKIP() << "no " << folder;
  reproduce({folder / "ruler", {(folder.parent_path() / "data").string()}});
}

TEST(RulerGolden, the_words_are_the_ones_that_upstream_draws_from) {
  const fs::path folder = complete_folder().parent_path() / "data";
  if (!fs::exists(folder / "wonderwords")) GTEST_SKIP() << "no " << folder;
  const std::vector<std::string> data{folder.string()};
  const KeyWords keys(wonder_key_lists(data));
  ASSERT_EQ(keys.size(), 6171620U);
  std::string joined = keys[0];
  for (std::size_t i = 1; i < keys.size(); ++i) (joined += '\n') += keys[i];
  EXPECT_EQ(sha256_hex(joined), "e5e6a09ed20903cb4abfcde8b89d1a40d4133a6fcff97001c690c21d97af3007");
  std::vector<std::string> words = wonder_words(data);
  ASSERT_EQ(words.size(), 8166U);
  joined = words[0];
  for (std::size_t i = 1; i < words.size(); ++i) (joined += '\n') += words[i];
  EXPECT_EQ(sha256_hex(joined), "393572555cfe9c15fd065aa9df0e9e91368cff81418b4d78025e9a4f57fe2ac4");
}

TEST(RulerGolden, another_seed_for_the_shuffles_would_be_seen) {
  const auto lines = lines_of(read_text_file(committed().folder / "fwe.1024.jsonl"));
  const std::string input = json::parse(lines[0])["input"];
  constexpr std::int64_t kWords = (1024 - kFweTokensToGenerate) / 50;
  PythonRandom random(42);
  coded_vocabulary(kWords, random, 42);  // the search draws one, too
  const auto vocabulary = coded_vocabulary(kWords, random, 42);
  const auto is_golden = [&](std::uint64_t shuffle_seed) {
    for (std::int64_t m = 100; m < 2000; ++m) {
      const std::string text = fmt::format(" {}\n", coded_text(vocabulary, m, shuffle_seed));
      if (input.find(text) != std::string::npos) return true;
    }
    return false;
  };
  EXPECT_TRUE(is_golden(42));
  EXPECT_FALSE(is_golden(43));
}

}  // namespace
}  // namespace sala
