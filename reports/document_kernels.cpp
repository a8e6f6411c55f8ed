// Benchmarks of kernels against the ceilings of their device.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "harness/compare/statistics.h"
#include "reports/document.h"
#include "reports/format.h"

namespace sala {
namespace {

std::vector<double> values_of(const CellRecord& cell, std::string_view metric) {
  std::vector<double> values;
  for (const ValueRecord& value : cell.values) {
    if (value.metric == metric) values.push_back(value.value);
  }
  return values;
}

double first_or_zero(const std::vector<double>& values) {
  return values.empty() ? 0 : values.front();
}

}  // namespace

Section kernels_section(const Analysis& analysis) {
  constexpr const char* kNone = "\u2014";
  Section section{"kernels", "Kernels", {}, {}, {}, {}};
  Table table;
  table.caption = "Median of a call over the repetitions, and the larger of its two shares";
  table.columns = {{"benchmark", false}, {"device", false}, {"time", true},
                   {"GFLOP/s", true},    {"GB/s", true},    {"% of its bound", true},
                   {"n", true}};
  for (const std::size_t i : analysis.cells) {
    const CellRecord& cell = analysis.results->cells[i];
    const std::vector<double> ns = values_of(cell, "kernel_ns");
    if (ns.empty()) continue;
    const double time = median(ns);
    const double flops = first_or_zero(values_of(cell, "kernel_flops"));
    const double bytes = first_or_zero(values_of(cell, "kernel_bytes"));
    std::string share = kNone;
    if (cell.ceilings && flops + bytes > 0) {
      const double least_s = std::max(flops / cell.ceilings->gemm_flops_per_s,
                                      bytes / cell.ceilings->copy_bytes_per_s);
      share = percent_text(1e9 * least_s / time);
    }
    const nlohmann::json params = nlohmann::json::parse(cell.params);
    table.rows.push_back({params.value("bench", ""), params.value("device_name", ""),
                          duration_text(time), flops > 0 ? number_text(flops / time) : kNone,
                          bytes > 0 ? number_text(bytes / time) : kNone, share,
                          fmt::format("{}", ns.size())});
  }
  if (table.rows.empty()) return section;
  section.paragraphs.emplace_back(
      "Each kernel alone, against a large square product and a large copy measured by the same "
      "process. Above 100 % of a bound the data came from the caches.");
  section.tables.push_back(std::move(table));
  return section;
}

}  // namespace sala
