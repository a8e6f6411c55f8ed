// A prompt that changes needs a task version that changes: hashes of prompts, by task and version.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>

#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "engine/base/sha256.h"
#include "harness/task.h"
#include "tests/suite_fixture.h"

namespace sala::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path& file() {
  static const fs::path path =
      fs::path(SALA_TEST_SOURCE_DIR) / "tests/golden/data/task_versions.json";
  return path;
}

std::int64_t length_of(const std::string& task) {
  if (task.starts_with("babilong")) return 1024;
  if (task.starts_with("nolima")) return 1000;
  if (task.ends_with("math_calc")) return 34000;
  return 8192;
}

/// Hash of what two samples send and expect.
std::string hash_of(const Task& task, const TaskOptions& options, const Tokenizer& tokenizer) {
  std::string text;
  for (std::int64_t i = 0; i < std::min<std::int64_t>(2, task.count(options, tokenizer)); ++i) {
    const Sample sample = task.make(options, i, tokenizer);
    text += sha256_hex(std::as_bytes(std::span(sample.prompt_ids)));
    text += json(sample.references).dump(-1, ' ', true) + std::to_string(sample.max_new_tokens);
  }
  return sha256_hex(text);
}

/// The same for the published code's prompts; empty where a task has none, or none without files.
std::string official_hash_of(const Task& task, TaskOptions options, const Tokenizer& tokenizer) {
  options.mode = "official";
  try {
    return hash_of(task, options, tokenizer);
  } catch (const Error&) {
    return "";
  }
}

/// {"task": {"version": n, "sha256": hash, "official_sha256": hash}}.
json current_versions() {
  const SuiteFixture fixture;
  const auto tokenizer =
      load_tokenizer(fs::path(SALA_TEST_SOURCE_DIR) / "tests/golden/data/tiny_tokenizer");
  json versions = json::object();
  for (const std::string& name : task_names()) {
    const auto task = make_task(name);
    TaskOptions options{length_of(name), 42, {}};
    if (!task->info().needs_data.empty()) options.data = fixture.data();
    versions[name] = {{"version", task->info().version},
                      {"sha256", hash_of(*task, options, *tokenizer)},
                      {"official_sha256", official_hash_of(*task, options, *tokenizer)}};
  }
  return versions;
}

/// After a change on purpose: raise the task's version and run with SALA_UPDATE_GOLDEN=1.
TEST(golden_tasks, prompts_change_only_with_their_version) {
  const json now = current_versions();
  if (std::getenv("SALA_UPDATE_GOLDEN") != nullptr) std::ofstream(file()) << now.dump(1) << "\n";
  const json known = json::parse(read_text_file(file()));
  for (const auto& [name, row] : now.items()) {
    ASSERT_TRUE(known.contains(name)) << name << " is new: run with SALA_UPDATE_GOLDEN=1";
    if (row["version"] == known[name]["version"]) {
      EXPECT_EQ(row, known[name]) << name << ": its prompts changed, its version " << row["version"]
                                  << " did not";
    } else {
      EXPECT_GT(row["version"], known[name]["version"]) << name;
      ADD_FAILURE() << name << " has a new version: run with SALA_UPDATE_GOLDEN=1";
    }
  }
  EXPECT_EQ(known.size(), now.size());
}

}  // namespace
}  // namespace sala::testing
