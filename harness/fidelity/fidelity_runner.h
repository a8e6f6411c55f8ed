// Runs the cells of a fidelity plan: the model as designed, then the same weights with dense
// layers. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "harness/plan/plan.h"
#include "harness/runner/progress.h"
#include "harness/store/writer.h"

namespace sala {

/// The right answer of a sample as the tokens that would follow its prompt: every reference where
/// all are asked for, else the first. Throws Error when the sample has none.
std::vector<TokenId> gold_tokens(const Sample& sample, const TaskInfo& task,
                                 const Tokenizer& tokenizer);

/// Runs every cell of the plan, whose one side is the model as designed; open_sweep() comes first.
/// dense: the same weights with dense layers in place of block-sparse ones. Two models that do not
/// fit into memory together take turns, twice a cell. A cell whose route is not the one of the
/// design is stored as invalid, one that fails with its reason. Returns how many are not ok.
std::int64_t run_fidelity(const Plan& plan, const Side& model, Engine& dense,
                          const TaskFactory& make_task, ResultWriter& writer, Progress& progress);

}  // namespace sala
