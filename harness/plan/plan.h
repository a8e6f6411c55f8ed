// A plan: every cell to be measured, with the keys by which its results are found again.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "harness/plan/suite.h"
#include "harness/store/rows.h"
#include "harness/task.h"

namespace sala {

using TaskFactory = std::function<std::unique_ptr<Task>(std::string_view name)>;

/// One of the two models of a comparison.
struct Side {
  std::string role;  // model or baseline
  EngineOptions options;
  std::unique_ptr<Engine> engine;
};

struct PlannedCell {
  std::size_t side = 0;  // index into the sides
  std::string task;
  std::int64_t length = 0;
  std::int64_t samples = 0;
  CellRow row;
};

struct Plan {
  Suite suite;
  SweepRow sweep;
  std::vector<PlannedCell> cells;  // short to long, the sides in turn
};

/// Expands a suite over the sides. `build` identifies the binary: results of different builds never
/// share a cell. Throws Error when a task is unknown or a length is too short for it.
Plan make_plan(const Suite& suite, const std::vector<Side>& sides, const EnvironmentRow& build,
               const TaskFactory& make_task);

/// The prompt of a perf cell, short enough that new_tokens still fit: the task's first sample, or
/// for random weights, which find nothing in a text, random ids from the seed.
Sample speed_sample(const Side& side, const Task& task, const TaskOptions& options,
                    std::int64_t new_tokens);

/// Content hash of files, and of folders' files with their names; "builtin" for none.
std::string data_identity(const std::vector<std::string>& paths);

/// The plan as a table for people, or as JSON.
std::string plan_table(const Plan& plan, const std::vector<Side>& sides);
std::string plan_json(const Plan& plan, const std::vector<Side>& sides);

}  // namespace sala
