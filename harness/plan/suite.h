// A suite: which tasks at which lengths with how many samples, read from a TOML file.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "harness/task.h"

namespace sala {

/// One point of a suite.
struct SuiteCell {
  std::string task;
  std::int64_t length = 0;   // tokens of prompt and answer together
  std::int64_t samples = 0;  // prompts (accuracy) or repetitions (perf)
};

struct Suite {
  std::string name;
  std::string kind = "accuracy";  // or perf: fixed prompt and continuation, no score; or fidelity
  std::uint64_t seed = 42;
  std::string mode = "strict";         // or official
  std::vector<std::string> data;       // folders and text files; empty: built in
  std::string chat_template = "auto";  // the model's own; or name or text
  std::int64_t new_tokens = 0;         // perf: tokens of the forced continuation
  std::vector<SuiteCell> cells;        // each (task, length) once
};

/// What the command line says instead of the suite file.
struct SuiteOverrides {
  std::vector<std::string> tasks;     // empty: the suite's
  std::vector<std::int64_t> lengths;  // empty: the suite's
  std::optional<std::int64_t> samples;
  std::optional<std::uint64_t> seed;
  std::string mode{};               // empty: the suite's
  std::vector<std::string> data{};  // empty: the suite's
  std::string chat_template{};      // empty: the suite's
};

/// Name or text of the chat template that is asked for: "auto" means the model's own. Throws Error
/// when that is not a known one.
std::string choose_chat_template(const std::string& asked, const EngineInfo& model);

/// What the suite asks of a task at one length with a model.
TaskOptions task_options(const Suite& suite, const EngineInfo& model, std::int64_t length);

/// Most tokens of prompt and answer at one length: official lengths leave out the BOS, as upstream
/// counts.
std::int64_t token_limit(const Suite& suite, std::int64_t length);

/// Reads data/suites/NAME.toml, or the file itself when `name` ends in .toml.
/// Throws Error naming the file and the key for anything that is missing, unknown or out of range.
Suite load_suite(std::string_view name);

/// Reads a suite from TOML text; `where` names it in errors.
Suite parse_suite(std::string_view text, std::string_view where);

/// Least number of repetitions of a perf run that counts as measured: fewer at long lengths, which
/// cost more and vary less.
std::int64_t minimum_repetitions(std::int64_t length);

/// Replaces parts of a suite. A length that the suite does not have gets the samples of the longest
/// one below it, else of its shortest, and in a perf suite no more than minimum_repetitions(); a
/// task that it does not have gets those of its first task.
void override_suite(Suite& suite, const SuiteOverrides& overrides);

}  // namespace sala
