// The suites over official files: each is a family of tasks with a table of its own.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "harness/task.h"

namespace sala {

/// Names of a family's tasks, and the maker of one; nullptr for a name that is none of them.
struct TaskFamily {
  std::vector<std::string> (*names)();
  std::unique_ptr<Task> (*make)(std::string_view name);
};

/// BABILong, booydar/babilong commit 7a6efee: babilong_qa1 to babilong_qa20.
TaskFamily babilong_family();
/// InfiniteBench, OpenBMB/InfiniteBench commit 88b3daa: infinitebench_NAME with the prompts for
/// base models (yarn_mistral) and infinitebench_gpt4_NAME.
TaskFamily infinitebench_family();
/// LongBench 1 and 2, THUDM/LongBench commit 2e00731: longbench_DATASET, longbench2 and
/// longbench2_no_context. Chinese data sets that need word segmentation are left out.
TaskFamily longbench_family();
/// OpenAI MRCR and Google DeepMind's MRCR v2: mrcr_2needle, mrcr_4needle, mrcr_8needle, mrcr_v2.
TaskFamily mrcr_family();
/// gkamradt/LLMTest_NeedleInAHaystack commit 7b90d28: niah_grid and niah_grid_sigmoid.
TaskFamily niah_grid_family();
/// NoLiMa, adobe-research/NoLiMa commit 7532e4e: nolima, nolima_direct, nolima_hard.
TaskFamily nolima_family();
/// Passkey retrieval as three repositories have it: passkey_landmark, passkey_longlora,
/// passkey_yarn.
TaskFamily passkey_family();

}  // namespace sala
