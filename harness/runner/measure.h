// One sample through an engine: the request, the answer and the numbers, as rows to store.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "harness/scorer.h"
#include "harness/store/rows.h"
#include "harness/task.h"

namespace sala {

/// Greedy decoding of a sample's prompt.
Request make_request(const Sample& sample);
/// The same with a continuation that does not depend on the model: the prompt's own tokens.
Request make_forced_request(const Sample& sample);

/// What readies an engine for a forced request of that size at little cost: the same memory and the
/// same chunks, without the whole ones in the middle of the prompt.
Request make_rehearsal(const Request& request, std::int64_t chunk);

/// A prompt of nominal length may be longer than the length: then its target is what it needs.
PromptRow make_prompt_row(const Sample& sample, std::int64_t length, std::uint64_t seed);
AnswerRow make_answer_row(const Sample& sample, const Output& output, const Tokenizer& tokenizer,
                          const Scorer& scorer);
/// A miss that stands for a sample that could not be run.
AnswerRow make_failed_answer(const std::string& why);

/// Times, rates and peaks of one request. chunk: tokens of its prefill chunks; rep: sample index.
std::vector<ValueRow> make_values(const Output& output, std::int64_t n_prompt, std::int64_t chunk,
                                  std::int64_t rep);

}  // namespace sala
