// Which queries of a prompt are looked at, and what their samples say of each layer.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "engine/engine.h"
#include "harness/store/fidelity_rows.h"
#include "harness/task.h"

namespace sala {

/// 32 queries of the context, log-spaced from a 64th of the prompt to its last 32 tokens; those
/// last 32, which ask the question; and one for every token of the answer that may be fed back. The
/// needles are those of the sample.
SelectionRequest make_selection_request(const Sample& sample);

/// Means over the queries of a prompt, by layer, then by part, the mean over KV heads first. A
/// query belongs to the question when it is among the last 32 of the prompt or of the answer; only
/// there a needle could be asked for, so only there hits count.
std::vector<SelectionRow> selection_rows(const std::vector<SelectionSample>& samples,
                                         std::int64_t n_prompt);

}  // namespace sala
