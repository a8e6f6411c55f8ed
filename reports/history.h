// The same work over many runs: one number a run, in the order in which their sweeps began.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "harness/compare/change_points.h"
#include "reports/analysis.h"

namespace sala {

enum class HistoryMetric : std::uint8_t { ttft, decode, peak, accuracy };

/// One finished cell, all attempts together.
struct HistoryRun {
  std::size_t sweep = 0;  // index into Results::sweeps
  std::int64_t started_us = 0;
  std::string commit;  // 12 digits, with + for uncommitted changes
  double value = 0;    // median of the raw samples; largest peak; mean score
  std::int64_t n = 0;  // samples
};

/// Runs of equal work on equal settings in equal surroundings: only the build may differ.
struct HistorySeries {
  HistoryMetric metric = HistoryMetric::ttft;
  std::string work;  // task, or the prompt of a speed cell
  std::int64_t length = 0;
  std::string surroundings;  // digits that tell them apart
  std::size_t subject = 0;
  std::vector<HistoryRun> runs;
  std::vector<ChangePoint> changes;  // levels in the unit of the values
};

/// Every series over all sweeps, superseded ones too: times and memory of speed cells, scores of
/// accuracy cells. Cells that did not finish, and those whose attempts saw different surroundings,
/// are left out.
std::vector<HistorySeries> find_history(const Analysis& analysis);

}  // namespace sala
