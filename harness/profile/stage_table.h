// How often, how long and for which share of a request each stage ran.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/request.h"

namespace sala {

struct StageRow {
  std::string name;
  RangeKind kind;
  std::int64_t n = 0;
  std::int64_t total_ns = 0;
  double median_ns = 0;
  double share = 0;  // of the request's time
};

struct StageTable {
  std::vector<StageRow> rows;  // the longest first
  std::int64_t gap_ns = 0;     // of the request's time, between stages
  double gap_share = 0;
};

/// Kind of a stage by its full name, such as decode.dense.attend.
RangeKind kind_of_row(std::string_view name);

/// From an output with a timeline.
StageTable stage_table(const Output& output);

}  // namespace sala
