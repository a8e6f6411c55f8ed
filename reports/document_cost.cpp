// Sections on cost: times against length, stages, memory.
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

std::string estimate_text(const std::optional<Estimate>& estimate, double scale) {
  if (!estimate) return "\u2014";
  return fmt::format("{} [{}\u2013{}]", number_text(estimate->value / scale),
                     number_text(estimate->interval.low / scale),
                     number_text(estimate->interval.high / scale));
}

template <typename Get>
bool any_row(const Analysis& analysis, Get get) {
  return std::any_of(analysis.speed.begin(), analysis.speed.end(),
                     [&](const SpeedRow& row) { return get(row).has_value(); });
}

/// The crossover sentence of a metric, or the fallback.
std::string finding(const Analysis& analysis, const char* metric, const char* fallback) {
  for (const Crossover& crossover : analysis.crossovers) {
    if (crossover.metric == metric) return crossover.outcome + ".";
  }
  return fallback;
}

double longest_ttft(const Analysis& analysis) {
  double longest = 0;
  for (const SpeedRow& row : analysis.speed) {
    if (row.ttft_ns) longest = std::max(longest, row.ttft_ns->value);
  }
  return longest;
}

/// Longest length with stages of this phase for as many subjects as possible.
std::int64_t stage_length(const Analysis& analysis, const std::string& phase) {
  std::int64_t best = 0;
  std::size_t most = 0;
  for (const std::int64_t length : analysis.lengths) {
    std::size_t n = 0;
    for (const SpeedRow& row : analysis.speed) {
      if (row.length != length) continue;
      const auto it = row.stage_ns.lower_bound(phase + ".");
      n += it != row.stage_ns.end() && it->first.starts_with(phase + ".") ? 1 : 0;
    }
    if (n > 0 && n >= most) {
      most = n;
      best = length;
    }
  }
  return best;
}

}  // namespace

Section speed_section(const Analysis& analysis) {
  Section section{"speed", "Time and memory against length", {}, {}, {}, {}};
  if (analysis.speed.empty()) return section;
  section.paragraphs.push_back(
      "Medians over the prompts of a length with their 95 % order-statistic intervals, on a warm "
      "process. Both axes are logarithmic. These times come from one process on one machine: "
      "ratios "
      "between the subjects are firmer than the times themselves.");
  const auto ttft = [](const SpeedRow& row) { return row.ttft_ns; };
  const auto prefill = [](const SpeedRow& row) { return row.prefill_tok_s; };
  const auto decode = [](const SpeedRow& row) { return row.decode_ns; };
  if (any_row(analysis, ttft)) {
    const bool slow = longest_ttft(analysis) >= 1e10;
    section.figures.push_back(
        {"Time to first token", finding(analysis, "time to first token", "Lower is better."),
         length_chart(analysis, slow ? "seconds" : "milliseconds", slow ? 1e9 : 1e6, ttft), 2,
         true});
  }
  if (any_row(analysis, prefill)) {
    section.figures.push_back({"Prefill rate", "Prompt tokens a second; higher is better.",
                               length_chart(analysis, "tokens a second", 1, prefill), 2, true});
  }
  if (any_row(analysis, decode)) {
    section.figures.push_back(
        {"Decode time a token", finding(analysis, "decode time a token", "Lower is better."),
         length_chart(analysis, "milliseconds a token", 1e6, decode), 2, true});
  }
  if (any_row(analysis, peak_estimate)) {
    section.figures.push_back({"Peak memory", finding(analysis, "peak memory", "Lower is better."),
                               length_chart(analysis, "MiB", 1048576, peak_estimate), 2, true});
  }
  Table table;
  table.caption = "Median [95 % interval] by subject and length";
  table.columns = {{"subject", false},
                   {"length", true},
                   {"time to first token, ms", true},
                   {"prefill, tokens/s", true},
                   {"decode, ms/token", true},
                   {"peak memory", true},
                   {"n", true}};
  for (const SpeedRow& row : analysis.speed) {
    table.rows.push_back({analysis.subjects[row.subject].label, length_text(row.length),
                          estimate_text(row.ttft_ns, 1e6), estimate_text(row.prefill_tok_s, 1),
                          estimate_text(row.decode_ns, 1e6),
                          row.peak_bytes ? bytes_text(*row.peak_bytes) : "\u2014",
                          row.ttft_ns ? fmt::format("{}", row.ttft_ns->n) : "0"});
  }
  section.tables.push_back(std::move(table));
  return section;
}

Section stages_section(const Analysis& analysis) {
  Section section{"stages", "Where the time goes", {}, {}, {}, {}};
  const auto subjects = analysis.subjects.size();
  for (const std::string phase : {"prefill", "decode"}) {
    const std::int64_t length = stage_length(analysis, phase);
    if (length == 0) continue;
    section.figures.push_back({fmt::format("Stages of {} at {} tokens", phase, length_text(length)),
                               "Shares of the time inside stages, which do not overlap.",
                               stage_chart(analysis, phase, length), 2});
    Table table;
    table.caption =
        fmt::format("Stages of {} at {} tokens, mean a request", phase, length_text(length));
    table.columns = {{"stage", false}};
    table.folded = true;
    std::set<std::string> stages;
    std::vector<double> totals(subjects, 0.0);
    for (std::size_t s = 0; s < subjects; ++s) {
      table.columns.push_back({analysis.subjects[s].label, true});
      table.columns.push_back({"share, %", true});
      if (const SpeedRow* row = analysis.speed_at(s, length)) {
        for (const auto& [stage, ns] : row->stage_ns) {
          if (!stage.starts_with(phase + ".")) continue;
          stages.insert(stage);
          totals[s] += ns;
        }
      }
    }
    for (const std::string& stage : stages) {
      std::vector<std::string>& cells = table.rows.emplace_back();
      cells.push_back(stage);
      for (std::size_t s = 0; s < subjects; ++s) {
        const SpeedRow* row = analysis.speed_at(s, length);
        const bool known = row != nullptr && row->stage_ns.contains(stage);
        cells.push_back(known ? duration_text(row->stage_ns.at(stage)) : "\u2014");
        cells.push_back(known ? percent_text(row->stage_ns.at(stage) / totals[s]) : "\u2014");
      }
    }
    section.tables.push_back(std::move(table));
  }
  return section;
}

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

/// The longest length that ran and the shortest that did not fit.
Table longest_table(const Analysis& analysis) {
  Table table;
  table.caption = "Longest context that ran, and shortest that did not fit into memory";
  table.columns = {{"subject", false}, {"device", false}, {"ran", true}, {"did not fit", true}};
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
    if (too_long == 0) continue;
    const Subject& subject = analysis.subjects[s];
    table.rows.push_back({subject.label, subject.device.empty() ? subject.backend : subject.device,
                          longest > 0 ? length_text(longest) : "none", length_text(too_long)});
  }
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
