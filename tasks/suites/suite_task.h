// What the published suites share: finding official files, and prompts that may be too long.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "harness/task.h"
#include "tasks/fit.h"
#include "tasks/load_once.h"
#include "tasks/suites/json_lines.h"

namespace sala {

/// data/templates/NAME.json: prompts and labels as the benchmark's repository has them.
nlohmann::json read_templates(std::string_view name);

/// A task whose prompts are published: texts of files, or of a template and a seed.
class SuiteTask : public Task {
 public:
  const TaskInfo& info() const final { return info_; }
  std::vector<TaskSource> sources(const TaskOptions& options) const override;

 protected:
  /// What happens to a prompt that does not fit.
  enum class TooLong : std::uint8_t {
    refuse,      // an Error
    cut_middle,  // its first and its last half stay, and the sample says how much is gone
    allow,       // the length is nominal
  };

  explicit SuiteTask(TaskInfo info) : info_(std::move(info)) {}

  /// Files below the data folders that the options ask for.
  virtual std::vector<std::string> files(const TaskOptions& /*options*/) const { return {}; }

  /// Path of a file or folder. Throws Error saying how to get it.
  std::filesystem::path path(const TaskOptions& options, const std::string& name) const;
  /// Rows of a file, read once.
  const JsonLines& rows(const TaskOptions& options, const std::string& name) const;
  /// Throws Error unless there is a sample i of n.
  void check_index(std::int64_t i, std::int64_t n) const;

  /// Makes a sample of a text: ids with BOS, positions of needles, the chat template around all of
  /// it. `sample` has references and max_new_tokens; its answer prefix, if any, ends the text.
  Sample complete(const TaskOptions& options, const Tokenizer& tokenizer, Draft draft,
                  Sample sample, TooLong too_long) const;

 private:
  TaskInfo info_;
  LoadOnce<JsonLines> rows_;
  LoadOnce<std::string> hashes_;
};

/// A task with a prompt for each row of its one file.
class RowTask : public SuiteTask {
 public:
  std::int64_t count(const TaskOptions& options, const Tokenizer& tokenizer) const final;
  Sample make(const TaskOptions& options, std::int64_t i, const Tokenizer& tokenizer) const final;

 protected:
  using SuiteTask::SuiteTask;

  /// Path of the file below the data folders.
  virtual std::string file(const TaskOptions& options) const = 0;
  /// Completes a sample that has its index.
  virtual Sample from_row(const TaskOptions& options, const JsonRow& row, Sample sample,
                          const Tokenizer& tokenizer) const = 0;

 private:
  std::vector<std::string> files(const TaskOptions& options) const final { return {file(options)}; }
};

/// What a template ends with behind its last slot, from its last line break on: the answer's first
/// words.
std::string answer_prefix_of(std::string_view prompt_template);

/// The text with U+FFFD for every byte that is not UTF-8: a cut between tokens may fall inside a
/// character.
std::string repaired_utf8(std::string_view text);

/// A cluster of its own for each row.
std::string row_cluster(std::string_view task, std::int64_t length, std::int64_t i);

}  // namespace sala
