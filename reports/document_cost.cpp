// Sections on cost: times against length, and stages.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
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

const Crossover* find_crossover(const Analysis& analysis, std::string_view metric) {
  for (const Crossover& crossover : analysis.crossovers) {
    if (crossover.metric == metric) return &crossover;
  }
  return nullptr;
}

std::string finding(const Crossover* crossover) {
  return crossover == nullptr ? "Lower is better." : crossover->outcome + ".";
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
    const Crossover* crossover = find_crossover(analysis, "time to first token");
    section.figures.push_back({"Time to first token", finding(crossover),
                               length_chart(analysis, slow ? "seconds" : "milliseconds",
                                            slow ? 1e9 : 1e6, ttft, crossover),
                               2, true});
  }
  if (any_row(analysis, prefill)) {
    section.figures.push_back({"Prefill rate", "Prompt tokens a second; higher is better.",
                               length_chart(analysis, "tokens a second", 1, prefill), 2, true});
  }
  if (any_row(analysis, decode)) {
    const Crossover* crossover = find_crossover(analysis, "decode time a token");
    section.figures.push_back(
        {"Decode time a token", finding(crossover),
         length_chart(analysis, "milliseconds a token", 1e6, decode, crossover), 2, true});
  }
  if (any_row(analysis, peak_estimate)) {
    const Crossover* crossover = find_crossover(analysis, "peak memory");
    section.figures.push_back({"Peak memory", finding(crossover),
                               length_chart(analysis, "MiB", 1048576, peak_estimate, crossover), 2,
                               true});
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
  if (!analysis.crossovers.empty()) section.tables.push_back(crossover_table(analysis));
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

}  // namespace sala
