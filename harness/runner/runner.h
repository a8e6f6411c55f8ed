// Turns a plan into stored results: makes samples, runs them, scores them, commits each.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/base/nvml.h"
#include "harness/plan/plan.h"
#include "harness/runner/progress.h"
#include "harness/store/writer.h"

namespace sala {

/// Runs every sample of the plan that the writer's sweep lacks; open_sweep() comes first. A sample
/// that fails is a stored miss and a cell that runs out of memory a stored result; only errors of
/// the database are thrown. nvml: gives the functions that read a GPU's sensors, or throws where
/// there are none; then nothing is stored of what they would have said.
void run_plan(const Plan& plan, const std::vector<Side>& sides, const TaskFactory& make_task,
              ResultWriter& writer, Progress& progress,
              const NvmlFunctions& (*nvml)() = nvml_library);

}  // namespace sala
