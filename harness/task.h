// The extension point for tasks: a source of samples that never sees an engine.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
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
  bool prompt_logprobs = false;
};

struct TaskOptions {
  std::int64_t length = 0;  // limit in tokens for prompt and answer together
  std::uint64_t seed = 42;
  std::string data;  // text file or folder for the haystack; empty: the built-in prose
};

struct TaskInfo {
  std::string name;
  int version = 1;      // raised whenever a prompt changes
  std::string summary;  // one line
  std::string source;   // paper or repository
  std::string scorer;   // row of the scorer table
};

class Task {
 public:
  virtual ~Task() = default;
  virtual const TaskInfo& info() const = 0;
  /// Sample i of the cell: a pure function of (options, i, tokenizer). The prompt and the tokens to
  /// generate never exceed options.length. Throws Error naming the smallest length that works.
  virtual Sample make(const TaskOptions& options, std::int64_t i,
                      const Tokenizer& tokenizer) const = 0;
};

/// Throws Error, listing the names there are, when the name is unknown.
std::unique_ptr<Task> make_task(std::string_view name);
std::vector<std::string> task_names();

}  // namespace sala
