// A gate that runs the processes itself, and the calibration that measures its noise floor.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "harness/compare/gate.h"
#include "harness/compare/process_pairs.h"

namespace sala {

struct LiveGate {
  std::filesystem::path database;
  std::filesystem::path baseline_binary;
  std::filesystem::path candidate_binary;
  std::vector<Work> speed;    // in interleaved pairs of processes
  std::vector<Work> answers;  // once a side: greedy answers do not vary
  Policy policy;
  bool strict = false;
};

/// Fewest pairs that a noise floor may rest on.
inline constexpr int kFewestCalibrationPairs = 20;

/// Runs the pairs and stores the verdict. What stops it on the way (a process that fails three
/// times, an interrupt) makes it incomplete; only errors of the database are thrown.
GateReport gate_live(const LiveGate& gate, const ProcessPairs::Report& report);

/// Runs pairs of the baseline's binary against itself and stores the spread of every time. Returns
/// the items with their pairs. Throws Error when a pair fails three times.
std::vector<GateItem> calibrate(const LiveGate& gate, int pairs,
                                const ProcessPairs::Report& report);

}  // namespace sala
