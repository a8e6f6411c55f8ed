// How often, how long and for which share of a request each stage ran.
// SPDX-License-Identifier: Apache-2.0
#include "harness/profile/stage_table.h"

#include <algorithm>

#include "engine/base/error.h"

namespace sala {
namespace {

double median(std::vector<std::int64_t> values) {
  SALA_CHECK(!values.empty(), "every row of a timeline has a stage");
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  const auto upper = static_cast<double>(*middle);
  if (values.size() % 2 == 1) return upper;
  return (static_cast<double>(*std::max_element(values.begin(), middle)) + upper) / 2;
}

}  // namespace

RangeKind kind_of_row(std::string_view name) {
  return stage_kind(name.substr(name.rfind('.') + 1));
}

StageTable stage_table(const Output& output) {
  std::vector<std::vector<std::int64_t>> times(output.stages.size());
  for (const Timeline::Stage& stage : output.timeline.stages) {
    times[stage.row].push_back(stage.time.ns);
  }
  const auto wall = static_cast<double>(output.timing.total_ns);
  const auto share = [&](std::int64_t ns) { return static_cast<double>(ns) / wall; };
  StageTable table;
  table.gap_ns = output.timing.total_ns;
  for (std::size_t i = 0; i < output.stages.size(); ++i) {
    const StageTime& stage = output.stages[i];
    table.rows.push_back({.name = stage.name,
                          .kind = kind_of_row(stage.name),
                          .n = stage.calls,
                          .total_ns = stage.ns,
                          .median_ns = median(std::move(times[i])),
                          .share = share(stage.ns)});
    table.gap_ns -= stage.ns;
  }
  table.gap_share = share(table.gap_ns);
  std::ranges::stable_sort(table.rows, std::ranges::greater{}, &StageRow::total_ns);
  return table;
}

}  // namespace sala
