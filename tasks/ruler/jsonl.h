// Samples as lines of RULER's data sets.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "harness/task.h"

namespace sala {

/// One line of `<task>/validation.jsonl`, without its line feed, as Python's json.dumps writes it.
/// Needle tasks carry token_position_answer; in official mode their index is the answer's position
/// in the prompt, as upstream has it.
std::string ruler_jsonl(const Sample& sample, const TaskInfo& info, const TaskOptions& options,
                        const Tokenizer& tokenizer);

}  // namespace sala
