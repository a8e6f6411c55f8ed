// Section on memory: the ledger, the driver's count, and the longest context that fits.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "reports/charts.h"
#include "reports/document.h"
#include "reports/format.h"

namespace sala {
namespace {

/// The ledger's peak beside what the driver counted, where it did.
Table driver_table(const Analysis& analysis) {
  Table table;
  table.caption =
      "What the driver counts for the process: the ledger's peak, what it takes for itself "
      "(context, code, library handles), and the rest, which nothing names";
  table.columns = {
      {"length", true},  {"subject", false},    {"predicted", true}, {"ledger at the peak", true},
      {"context", true}, {"unaccounted", true}, {"driver", true}};
  for (const std::size_t i : analysis.cells) {
    const CellRecord& cell = analysis.results->cells[i];
    if (!cell.driver_memory) continue;
    const auto peak = static_cast<double>(ledger_peak_bytes(cell.ledger));
    const auto context = static_cast<double>(cell.driver_memory->context_bytes);
    const auto unaccounted = static_cast<double>(cell.driver_memory->unaccounted_bytes);
    double planned = 0;
    for (const LedgerRecord& row : cell.ledger) {
      planned += static_cast<double>(row.planned_bytes.value_or(0));
    }
    table.rows.push_back({length_text(cell.context_len),
                          analysis.subjects[analysis.subject_of_cell[i]].label, bytes_text(planned),
                          bytes_text(peak), bytes_text(context),
                          (unaccounted < 0 ? "\u2212" : "") + bytes_text(std::abs(unaccounted)),
                          bytes_text(peak + context + unaccounted)});
  }
  return table;
}

/// The longest length that ran and the shortest that did not fit; empty when everything fitted.
Table longest_table(const Analysis& analysis) {
  Table table;
  table.caption = "Longest context that ran, and shortest that did not fit into memory";
  table.columns = {{"subject", false}, {"device", false}, {"ran", true}, {"did not fit", true}};
  bool all_fitted = true;
  for (std::size_t s = 0; s < analysis.subjects.size(); ++s) {
    std::int64_t longest = 0;
    std::int64_t too_long = 0;
    for (const std::size_t i : analysis.cells) {
      if (analysis.subject_of_cell[i] != s) continue;
      const CellRecord& cell = analysis.results->cells[i];
      const std::int64_t length = cell.context_len;
      if (cell.status == "ok") longest = std::max(longest, length);
      if (cell.status == "oom" && (too_long == 0 || length < too_long)) too_long = length;
    }
    all_fitted = all_fitted && too_long == 0;
    const Subject& subject = analysis.subjects[s];
    table.rows.push_back({subject.label, subject.device.empty() ? subject.backend : subject.device,
                          longest > 0 ? length_text(longest) : "none",
                          too_long > 0 ? length_text(too_long) : "\u2014"});
  }
  if (all_fitted) table.rows.clear();
  return table;
}

}  // namespace

Section memory_section(const Analysis& analysis) {
  Section section{"memory", "Memory ledger", {}, {}, {}, {}};
  Table table;
  table.caption =
      "Bytes by category at the moment of the peak; what was planned stands beside it where it "
      "differs";
  table.columns = {{"length", true}, {"subject", false}};
  std::set<std::string> categories;
  for (const SpeedRow& row : analysis.speed) {
    for (const LedgerRecord& record : row.ledger) categories.insert(record.category);
  }
  if (categories.empty()) return section;
  for (const std::string& category : categories) table.columns.push_back({category, true});
  table.columns.push_back({"sum", true});
  for (const std::int64_t length : analysis.lengths) {
    for (std::size_t s = 0; s < analysis.subjects.size(); ++s) {
      const SpeedRow* row = analysis.speed_at(s, length);
      if (row == nullptr || row->ledger.empty()) continue;
      std::vector<std::string>& cells = table.rows.emplace_back();
      cells.push_back(length_text(length));
      cells.push_back(analysis.subjects[s].label);
      for (const std::string& category : categories) {
        const auto it = std::find_if(row->ledger.begin(), row->ledger.end(),
                                     [&](const auto& r) { return r.category == category; });
        if (it == row->ledger.end()) {
          cells.emplace_back("0");
          continue;
        }
        std::string text = bytes_text(static_cast<double>(it->at_peak_bytes));
        if (it->planned_bytes && *it->planned_bytes != it->at_peak_bytes) {
          text += fmt::format(" [planned {}]", bytes_text(static_cast<double>(*it->planned_bytes)));
        }
        cells.push_back(std::move(text));
      }
      cells.push_back(bytes_text(static_cast<double>(ledger_peak_bytes(row->ledger))));
    }
  }
  section.paragraphs.push_back(
      "Every allocation of the engine belongs to a category. What each category held at the moment "
      "the total peaked adds up to the peak; the categories' own peaks would not.");
  section.figures.push_back({"Bytes at the peak", "", memory_chart(analysis), 1});
  section.tables.push_back(std::move(table));
  for (Table& more : std::vector{driver_table(analysis), longest_table(analysis)}) {
    if (!more.rows.empty()) section.tables.push_back(std::move(more));
  }
  return section;
}

}  // namespace sala
