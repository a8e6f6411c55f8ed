// How well a model predicts plain text, position by position.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "harness/task.h"

namespace sala {

/// Whole sentences of the built-in prose or the user's text; nothing is generated, the prompt's own
/// log-probabilities are the result.
std::unique_ptr<Task> make_perplexity(const char* name, const char* summary);

}  // namespace sala
