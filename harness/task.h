// The extension point for tasks: a source of samples that never sees an engine.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/tokenizer.h"

namespace sala {

struct TokenSpan {
  std::int64_t begin = 0;
  std::int64_t end = 0;  // one past the last token
};

/// One prompt with its answer. Positions are tokens of the prompt, BOS included.
struct Sample {
  std::int64_t index = 0;
  std::string prompt;               // text sent, answer prefix included
  std::string answer_prefix;        // the prompt's tail
  std::vector<TokenId> prompt_ids;  // BOS included
  std::int64_t max_new_tokens = 0;
  std::vector<std::string> references;
  std::vector<TokenSpan> needles;  // where the needles really are
  std::optional<double>
      depth_pct;        // of the first asked needle: its first token over the prompt's tokens
  std::string cluster;  // samples with equal cluster are not independent
  std::vector<std::string> groups;  // of the benchmark's own breakdown, such as easy or hard
  std::int64_t n_left_out = 0;      // tokens cut out of the prompt's middle, which was too long
  bool prompt_logprobs = false;
};

struct TaskOptions {
  std::int64_t length = 0;  // limit in tokens for prompt and answer together
  std::uint64_t seed = 42;
  std::vector<std::string> data;  // folders and text files, the first that has a file wins;
                                  // empty: everything built in
  std::string mode = "strict";    // or official: the published code's prompts, mistakes included
  std::string chat_template = "base";  // such as meta-llama3, or a text with {task_template} where
                                       // the task goes
};

struct TaskInfo {
  std::string name;
  int version = 1;      // raised whenever a prompt changes
  std::string summary;  // one line
  std::string source;   // paper or repository
  std::string scorer;   // row of the scorer table
  /// The length names a size of the task's data; template and answer come on top of it.
  bool nominal_length = false;
  std::string needs_data{};  // what it cannot do without of --data; empty: it works without
};

/// Something that a task's samples are made of.
struct TaskSource {
  std::string name;      // file of a data folder, or "built-in ..."
  std::string sha256;    // empty when it is built in
  bool standin = false;  // not the benchmark's own: results are no published benchmark's
};

class Task {
 public:
  virtual ~Task() = default;
  virtual const TaskInfo& info() const = 0;
  /// How many samples there are; generated tasks have no end.
  virtual std::int64_t count(const TaskOptions& /*options*/, const Tokenizer& /*tokenizer*/) const {
    return std::numeric_limits<std::int64_t>::max();
  }
  /// What the samples take words and texts from. Throws Error as make() does.
  virtual std::vector<TaskSource> sources(const TaskOptions& /*options*/) const { return {}; }
  /// Sample i of the cell: a pure function of (options, i, tokenizer). The prompt and the tokens to
  /// generate never exceed options.length, unless it is nominal. Throws Error naming the smallest
  /// length that works.
  virtual Sample make(const TaskOptions& options, std::int64_t i,
                      const Tokenizer& tokenizer) const = 0;
};

/// Throws Error, listing the names there are, when the name is unknown.
std::unique_ptr<Task> make_task(std::string_view name);
std::vector<std::string> task_names();

}  // namespace sala
