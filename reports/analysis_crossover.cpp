// From which length on the first subject of the pair needs no more than the second.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "reports/analysis.h"
#include "reports/document.h"
#include "reports/format.h"

namespace sala {
namespace {

using Raw = std::function<std::vector<RawValue>(const SpeedRow&)>;

/// Pairs of positive values of one task and repetition; none when the two share nothing.
CrossoverPoint paired_point(std::int64_t length, const std::vector<RawValue>& first,
                            const std::vector<RawValue>& second) {
  std::map<std::pair<std::string, std::int64_t>, double> by_key;
  for (const RawValue& value : second) by_key[{value.task, value.rep}] = value.value;
  CrossoverPoint point;
  point.length = length;
  for (const RawValue& value : first) {
    const auto other = by_key.find({value.task, value.rep});
    if (other == by_key.end() || value.value <= 0 || other->second <= 0) continue;
    point.first.push_back(value.value);
    point.second.push_back(other->second);
  }
  return point;
}

/// The shortest length at which the first subject has values and the second ran out of memory,
/// as it did at every longer one.
std::optional<std::int64_t> infeasible_from(const Analysis& analysis, const Raw& raw) {
  const auto [first, second] = *analysis.pair;
  std::optional<std::int64_t> from;
  for (const std::int64_t length : analysis.lengths) {
    const SpeedRow* a = analysis.speed_at(first, length);
    const SpeedRow* b = analysis.speed_at(second, length);
    if (b != nullptr && !raw(*b).empty()) {
      from.reset();
      continue;
    }
    const bool oom = std::any_of(analysis.failures.begin(), analysis.failures.end(),
                                 [&, baseline = second](std::size_t i) {
                                   const CellRecord& cell = analysis.results->cells[i];
                                   return analysis.subject_of_cell[i] == baseline &&
                                          cell.context_len == length && cell.status == "oom";
                                 });
    if (!from && oom && a != nullptr && !raw(*a).empty()) from = length;
  }
  return from;
}

std::string bound_text(double tokens, const Crossover& crossover) {
  if (tokens == 0) return fmt::format("{} or less", length_text(crossover.shortest));
  if (std::isinf(tokens)) return fmt::format("beyond {}", length_text(crossover.longest));
  return length_text(std::llround(tokens));
}

/// "6800 to 7400", one bound alone when they agree, nothing where values cannot vary.
std::string interval_text(const Crossover& crossover) {
  if (crossover.fewest_pairs < 2) return "";
  const std::string low = bound_text(crossover.length.interval.low, crossover);
  const std::string high = bound_text(crossover.length.interval.high, crossover);
  return low == high ? low : fmt::format("{} to {}", low, high);
}

std::string outcome_text(const Crossover& crossover, const std::string& first,
                         const std::string& second) {
  const std::string shortest = length_text(crossover.shortest);
  const std::string longest = length_text(crossover.longest);
  const std::string tokens = length_text(std::llround(crossover.length.tokens));
  std::string text;
  switch (crossover.length.kind) {
    case CrossoverKind::at:
      text = fmt::format("{} needs no more than {} from about {} tokens on", first, second, tokens);
      break;
    case CrossoverKind::always:
      text = fmt::format("{} needs no more than {} {}", first, second,
                         crossover.shortest == crossover.longest
                             ? fmt::format("at {}", shortest)
                             : fmt::format("at every length from {} to {}", shortest, longest));
      break;
    case CrossoverKind::infeasible:
      text = fmt::format("{} is out of memory from {} on, where {} ran", second, tokens, first);
      if (crossover.longest > 0) text += fmt::format(", and needs less at {}", longest);
      break;
    case CrossoverKind::never:
      text = fmt::format("{} needs more than {} at {}, the longest length of both", first, second,
                         longest);
      break;
  }
  const Interval& interval = crossover.length.interval;
  const bool certain = interval.low == interval.high && crossover.length.kind != CrossoverKind::at;
  const std::string range = certain ? "" : interval_text(crossover);
  return range.empty() ? text : fmt::format("{} (95\u00a0% interval {})", text, range);
}

void add_crossover(Analysis& analysis, const char* metric, const Raw& raw) {
  const auto [first, second] = *analysis.pair;
  std::vector<CrossoverPoint> points;
  for (const std::int64_t length : analysis.lengths) {
    const SpeedRow* a = analysis.speed_at(first, length);
    const SpeedRow* b = analysis.speed_at(second, length);
    if (a == nullptr || b == nullptr) continue;
    CrossoverPoint point = paired_point(length, raw(*a), raw(*b));
    if (!point.first.empty()) points.push_back(std::move(point));
  }
  const std::optional<std::int64_t> infeasible = infeasible_from(analysis, raw);
  if (points.empty() && !infeasible) return;
  Crossover crossover;
  crossover.metric = metric;
  crossover.length = crossover_length(points, infeasible);
  if (!points.empty()) {
    crossover.shortest = points.front().length;
    crossover.longest = points.back().length;
    crossover.fewest_pairs = points.front().first.size();
    for (const CrossoverPoint& point : points) {
      crossover.fewest_pairs = std::min(crossover.fewest_pairs, point.first.size());
    }
  }
  crossover.outcome =
      outcome_text(crossover, analysis.subjects[first].label, analysis.subjects[second].label);
  analysis.crossovers.push_back(std::move(crossover));
}

/// "1k–16k", or one length alone.
std::string lengths_text(const Crossover& crossover) {
  if (crossover.shortest == 0) return "none";
  std::string shortest = length_text(crossover.shortest);
  if (crossover.shortest == crossover.longest) return shortest;
  return shortest + "\u2013" + length_text(crossover.longest);
}

std::string from_text(const Crossover& crossover) {
  std::string tokens = length_text(std::llround(crossover.length.tokens));
  switch (crossover.length.kind) {
    case CrossoverKind::at:
      return tokens;
    case CrossoverKind::always:
      return "always";
    case CrossoverKind::never:
      return fmt::format("never up to {}", length_text(crossover.longest));
    case CrossoverKind::infeasible:
      break;
  }
  return fmt::format("infeasible for the second from {}", tokens);
}

}  // namespace

void analyse_crossovers(Analysis& analysis) {
  if (!analysis.pair) return;
  add_crossover(analysis, "time to first token",
                [](const SpeedRow& row) { return row.raw_ttft_ns; });
  add_crossover(analysis, "decode time a token",
                [](const SpeedRow& row) { return row.raw_decode_ns; });
  add_crossover(analysis, "peak memory", [](const SpeedRow& row) {
    return row.peak_bytes ? std::vector{RawValue{"", 0, *row.peak_bytes}} : std::vector<RawValue>{};
  });
}

std::string crossover_sentence(const Analysis& analysis) {
  std::string text;
  for (const Crossover& crossover : analysis.crossovers) {
    text += fmt::format("{}{}: {}", text.empty() ? "By length, " : "; ", crossover.metric,
                        crossover.outcome);
  }
  return text.empty() ? text : text + ".";
}

Table crossover_table(const Analysis& analysis) {
  Table table;
  table.caption = fmt::format(
      "Crossover: from which length on {} needs no more than {}, with the 95 % interval of a "
      "bootstrap over pairs",
      analysis.subjects[analysis.pair->first].label,
      analysis.subjects[analysis.pair->second].label);
  table.columns = {{"metric", false},
                   {"from", true},
                   {"95 % interval", true},
                   {"lengths of both", true},
                   {"pairs a length", true}};
  for (const Crossover& crossover : analysis.crossovers) {
    const std::string range = interval_text(crossover);
    table.rows.push_back({crossover.metric, from_text(crossover), range.empty() ? "\u2014" : range,
                          lengths_text(crossover), fmt::format("{}", crossover.fewest_pairs)});
  }
  return table;
}

}  // namespace sala
