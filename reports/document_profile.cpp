// Profiled requests: where the time of one goes, by stage and by kernel.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "reports/document.h"
#include "reports/format.h"

namespace sala {
namespace {

constexpr const char* kNone = "\u2014";
constexpr double kSmallShare = 0.001;  // rows below it are added up in one

/// The newest profile of a subject at a length that has what is asked for, by subject and length.
template <typename Has>
std::map<std::pair<std::size_t, std::int64_t>, const CellRecord*> newest_cells(
    const Analysis& analysis, Has has) {
  std::map<std::pair<std::size_t, std::int64_t>, const CellRecord*> cells;
  for (std::size_t i = 0; i < analysis.results->cells.size(); ++i) {
    const CellRecord& cell = analysis.results->cells[i];
    if (!cell.runs.empty() && has(cell)) {
      cells[{analysis.subject_of_cell[i], cell.context_len}] = &cell;
    }
  }
  return cells;
}

struct StageSums {
  double ns = 0;
  double calls = 0;
};

/// Of a profile that no profiler disturbed; empty for any other cell.
std::map<std::string, StageSums> stages_of(const CellRecord& cell) {
  std::map<std::string, StageSums> stages;
  if (cell.kind != "profile") return stages;
  if (!nlohmann::json::parse(cell.params).value("profiler", "").empty()) return stages;
  for (const ValueRecord& value : cell.values) {
    if (value.metric == "stage_ns") stages[value.stage].ns = value.value;
    if (value.metric == "stage_calls") stages[value.stage].calls = value.value;
    if (value.metric == "gap_ns" && value.stage == "total") {
      stages["between stages"].ns = value.value;
    }
  }
  return stages;
}

Table stages_table(const std::string& label, const CellRecord& cell) {
  Table table;
  table.caption = fmt::format("{}: stages of a request of {} tokens, times of the request itself",
                              label, length_text(cell.context_len));
  table.columns = {{"stage", false}, {"calls", true}, {"total", true}, {"share, %", true}};
  const auto stages = stages_of(cell);
  std::vector<std::pair<std::string, StageSums>> rows(stages.begin(), stages.end());
  std::ranges::stable_sort(rows, std::ranges::greater{},
                           [](const auto& row) { return row.second.ns; });
  double total = 0;
  for (const auto& [name, sums] : rows) total += sums.ns;
  for (const auto& [name, sums] : rows) {
    table.rows.push_back({name, sums.calls > 0 ? fmt::format("{:.0f}", sums.calls) : kNone,
                          duration_text(sums.ns), percent_text(sums.ns / total)});
  }
  return table;
}

std::string counter_text(const KernelRow& row, std::string_view name) {
  for (const CounterRow& counter : row.counters) {
    if (counter.name != name) continue;
    return counter.unit == "byte" ? bytes_text(counter.value) : percent_text(counter.value / 100);
  }
  return kNone;
}

/// Counters of any kernel, by name.
std::map<std::string, std::string> counters_of(const KernelProfileRow& profile) {
  std::map<std::string, std::string> units;
  for (const KernelRow& row : profile.kernels) {
    for (const CounterRow& counter : row.counters) units[counter.name] = counter.unit;
  }
  return units;
}

Table kernels_table(const std::string& label, const CellRecord& cell,
                    const KernelProfileRow& profile) {
  Table table;
  std::int64_t n = 0;
  std::int64_t total = 0;
  for (const KernelRow& row : profile.kernels) {
    n += row.n;
    total += row.total_ns;
  }
  table.caption = fmt::format(
      "{}: {} kernels of a request of {} tokens, by {}", label, n, length_text(cell.context_len),
      profile.tool == "ncu" ? "Nsight Compute, each run alone" : "Nsight Systems");
  table.columns = {{"stage", false}, {"kernel", false},  {"n", true},
                   {"total", true},  {"share, %", true}, {"median", true}};
  const auto counters = counters_of(profile);
  for (const auto& [name, unit] : counters) {
    table.columns.push_back({unit == "%" ? name.substr(0, name.find('.')) + ", %" : name, true});
  }
  const auto share = [&](std::int64_t ns) {
    return total == 0 ? 0 : static_cast<double>(ns) / static_cast<double>(total);
  };
  const auto duration = [](std::int64_t ns) { return duration_text(static_cast<double>(ns)); };
  KernelRow rest;
  for (const KernelRow& row : profile.kernels) {
    if (share(row.total_ns) < kSmallShare) {
      rest.n += row.n;
      rest.total_ns += row.total_ns;
      continue;
    }
    std::vector<std::string>& cells = table.rows.emplace_back(std::vector<std::string>{
        row.stage, plain_text(row.kernel, 80), fmt::format("{}", row.n), duration(row.total_ns),
        percent_text(share(row.total_ns)), duration(row.p50_ns)});
    for (const auto& [name, unit] : counters) cells.push_back(counter_text(row, name));
  }
  if (rest.n > 0) {
    std::vector<std::string>& cells = table.rows.emplace_back(std::vector<std::string>{
        "others", "each below 0.1 %", fmt::format("{}", rest.n), duration(rest.total_ns),
        percent_text(share(rest.total_ns)), kNone});
    cells.resize(table.columns.size(), kNone);
  }
  return table;
}

}  // namespace

Section profile_section(const Analysis& analysis) {
  Section section{"profile", "Profile", {}, {}, {}, {}};
  const auto label = [&](const auto& key) { return analysis.subjects[key.first].label; };
  const auto timed =
      newest_cells(analysis, [](const CellRecord& cell) { return !stages_of(cell).empty(); });
  for (const auto& [key, cell] : timed) {
    section.tables.push_back(stages_table(label(key), *cell));
  }
  const auto profiled = newest_cells(
      analysis, [](const CellRecord& cell) { return !cell.runs.back().kernels.empty(); });
  for (const auto& [key, cell] : profiled) {
    for (const KernelProfileRow& profile : cell->runs.back().kernels) {
      section.tables.push_back(kernels_table(label(key), *cell, profile));
    }
  }
  if (section.tables.empty()) return section;
  section.paragraphs.emplace_back(
      "Single requests of sala profile, which no other figure of this page counts. A kernel "
      "belongs "
      "to the stage that launched it; times under a profiler are not those of an undisturbed "
      "request.");
  return section;
}

}  // namespace sala
