// What must hold of every prompt and answer before a score may rest on it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "engine/engine.h"
#include "harness/task.h"

namespace sala {

/// Throws Error naming what is wrong with the ids that are to be sent: a missing or doubled BOS,
/// ids that are not those of the text, an end that is not the answer prefix, a prompt and answer
/// over the length, or a needle that is not where its reference is said to be.
void check_prompt(const TaskInfo& task, const Sample& sample, std::int64_t length,
                  const Tokenizer& tokenizer);

/// Throws Error when the answer holds more tokens than were asked for, or begins with the prompt.
void check_answer(const Sample& sample, const Output& output, const std::string& text);

/// What goes into the record of a run: the first ids, the end of the text, the hash of all ids.
struct PromptTrace {
  std::vector<TokenId> first_ids;
  std::string tail;
  std::string ids_sha256;
};
PromptTrace trace_prompt(const Sample& sample);

}  // namespace sala
