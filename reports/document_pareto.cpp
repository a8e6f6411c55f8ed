// Section on accuracy, speed and memory together: a panel a length, and who dominates whom.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "reports/chart_parts.h"
#include "reports/document.h"
#include "reports/format.h"
#include "reports/pareto.h"

namespace sala {
namespace {

using nlohmann::json;

std::string peak_text(const ParetoPoint& point) {
  return point.peak_bytes ? bytes_text(*point.peak_bytes) : "";
}

double largest_peak(const std::vector<const ParetoLength*>& lengths) {
  double largest = 1;
  for (const ParetoLength* length : lengths) {
    for (const ParetoPoint& point : length->points) {
      largest = std::max(largest, point.peak_bytes.value_or(0));
    }
  }
  return largest;
}

/// Accuracy against time to first token, both with intervals; area of a marker: peak memory.
std::string pareto_chart(const Analysis& analysis, const ParetoLength& length,
                         double largest_bytes) {
  std::vector<const ParetoPoint*> points;
  points.reserve(length.points.size());
  for (const ParetoPoint& point : length.points) points.push_back(&point);
  std::ranges::sort(points, {}, [](const ParetoPoint* point) { return point->ttft_ns.value; });
  Interval times = points.front()->ttft_ns.interval;
  for (const ParetoPoint* point : points) {
    times.low = std::min(times.low, point->ttft_ns.interval.low);
    times.high = std::max(times.high, point->ttft_ns.interval.high);
  }
  const double scale = times.high >= 1e10 ? 1e9 : 1e6;
  json values = json::array();
  for (std::size_t i = 0; i < points.size(); ++i) {
    const ParetoPoint& point = *points[i];
    values.push_back({{"subject", analysis.subjects[point.subject].label},
                      {"ttft", point.ttft_ns.value / scale},
                      {"ttft_low", point.ttft_ns.interval.low / scale},
                      {"ttft_high", point.ttft_ns.interval.high / scale},
                      {"score", point.score.value},
                      {"score_low", point.score.interval.low},
                      {"score_high", point.score.interval.high},
                      {"score_text", percent_text(point.score.value) + " %"},
                      {"bytes", point.peak_bytes.value_or(0)},
                      {"text", peak_text(point)},
                      {"to_left", 2 * i < points.size()},
                      {"time", duration_text(point.ttft_ns.value)},
                      {"n", point.score.n}});
  }
  const SubjectStyle style = subject_style(analysis);
  json x = field("ttft", "quantitative",
                 scale == 1e9 ? "seconds to first token" : "milliseconds to first token");
  const double room = 1.5 * std::sqrt(times.high / times.low);  // for the words on either side
  log_axis(times.low / scale / room, times.high / scale * room, x);
  x["axis"]["labelOverlap"] = true;
  json y = field("score", "quantitative", "mean score");
  y["scale"] = {{"domain", {-0.05, 1.05}}, {"nice", false}};
  y["axis"] = {{"format", "%"}, {"values", {0, 0.25, 0.5, 0.75, 1}}};
  const auto renamed = [](json channel, const char* name) {
    channel["field"] = name;
    return channel;
  };
  json size = field("bytes", "quantitative", nullptr);
  size["scale"] = {{"domain", {0, largest_bytes}}, {"range", {25, 400}}};
  size["legend"] = nullptr;
  const json tooltip = {
      field("subject", "nominal", "subject"), field("score_text", "nominal", "mean score"),
      field("time", "nominal", "time to first token"), field("text", "nominal", "peak memory"),
      field("n", "quantitative", "prompts")};
  const json rule = {{"type", "rule"}, {"strokeWidth", 1.5}, {"opacity", 0.7}};
  json spec = base_spec();
  spec["height"] = 220;
  spec["encoding"] = {{"color", style.colour}};
  spec["data"] = {{"values", values}};
  spec["layer"] = {
      {{"mark", rule},
       {"encoding", {{"x", x}, {"y", renamed(y, "score_low")}, {"y2", {{"field", "score_high"}}}}}},
      {{"mark", rule},
       {"encoding", {{"x", renamed(x, "ttft_low")}, {"x2", {{"field", "ttft_high"}}}, {"y", y}}}},
      {{"mark", {{"type", "point"}, {"filled", true}, {"opacity", 0.85}}},
       {"encoding",
        {{"x", x}, {"y", y}, {"size", size}, {"shape", style.shape}, {"tooltip", tooltip}}}}};
  add_side_texts(values, x, y, 13, spec);
  return island(spec);
}

/// Names of the axes on which the pair stands like that.
std::string axes_text(const ParetoPair& pair, Standing standing) {
  std::vector<std::string_view> names;
  for (const ParetoAxis& axis : pair.axes) {
    if (axis.better == standing) names.emplace_back(axis.name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string outcome_text(const ParetoPair& pair, const std::string& first,
                         const std::string& second) {
  switch (pair.outcome) {
    case ParetoOutcome::first_dominates:
      return first + " dominates " + second;
    case ParetoOutcome::second_dominates:
      return second + " dominates " + first;
    case ParetoOutcome::trade_off:
      return fmt::format("trade-off: {} is better in {}, {} in {}", first,
                         axes_text(pair, Standing::first), second,
                         axes_text(pair, Standing::second));
    case ParetoOutcome::not_compared:
      return "not compared: their times come from different work or surroundings";
    case ParetoOutcome::undecided:
      break;
  }
  return fmt::format("undecided in {}", axes_text(pair, Standing::open));
}

Table pairs_table(const Analysis& analysis, const std::vector<const ParetoLength*>& lengths) {
  Table table;
  table.caption = "Who dominates whom: the better of each two, where the intervals tell them apart";
  table.columns = {{"length", true},       {"of these two", false},
                   {"accuracy", false},    {"time to first token", false},
                   {"decode time", false}, {"memory", false},
                   {"all together", false}};
  for (const ParetoLength* length : lengths) {
    for (const ParetoPair& pair : length->pairs) {
      const std::string& first = analysis.subjects[length->points[pair.first].subject].label;
      const std::string& second = analysis.subjects[length->points[pair.second].subject].label;
      const auto better = [&](std::string_view name) -> std::string {
        const auto axis = std::ranges::find(pair.axes, name, &ParetoAxis::name);
        if (axis == pair.axes.end()) return "\u2014";
        if (axis->better == Standing::open) return "? undecided";
        if (axis->better == Standing::equal) return "= equal";
        return axis->better == Standing::first ? first : second;
      };
      table.rows.push_back({length_text(length->length), fmt::format("{}, {}", first, second),
                            better("accuracy"), better("time to first token"),
                            better("decode time"), better("memory"),
                            outcome_text(pair, first, second)});
    }
  }
  return table;
}

Table points_table(const Analysis& analysis, const std::vector<const ParetoLength*>& lengths) {
  Table table;
  table.caption = "What is compared";
  table.columns = {{"length", true},
                   {"subject", false},
                   {"tasks", true},
                   {"prompts", true},
                   {"mean score, % [95 %]", true},
                   {"time to first token [95 %]", true},
                   {"decode a token [95 %]", true},
                   {"peak memory", true}};
  table.folded = true;
  const auto times = [](const Estimate& estimate) {
    return fmt::format("{} [{}\u2013{}]", duration_text(estimate.value),
                       duration_text(estimate.interval.low), duration_text(estimate.interval.high));
  };
  for (const ParetoLength* length : lengths) {
    for (const ParetoPoint& point : length->points) {
      table.rows.push_back({length_text(length->length), analysis.subjects[point.subject].label,
                            fmt::format("{}", length->n_tasks), fmt::format("{}", point.score.n),
                            fmt::format("{} [{}]", percent_text(point.score.value),
                                        percent_interval_text(point.score.interval)),
                            times(point.ttft_ns),
                            point.decode_ns ? times(*point.decode_ns) : "\u2014",
                            point.peak_bytes ? peak_text(point) : "\u2014"});
    }
  }
  return table;
}

std::string finding_of(const Analysis& analysis, const ParetoLength& length) {
  if (length.pairs.size() > 1) return "";
  const ParetoPair& pair = length.pairs.front();
  return outcome_text(pair, analysis.subjects[length.points[pair.first].subject].label,
                      analysis.subjects[length.points[pair.second].subject].label) +
         ".";
}

/// Lengths at which only one subject has both a score and a time.
std::string alone_text(const Analysis& analysis, const std::vector<ParetoLength>& lengths) {
  std::map<std::size_t, std::vector<std::string>> alone;
  for (const ParetoLength& length : lengths) {
    if (length.points.size() > 1) continue;
    alone[length.points.front().subject].push_back(length_text(length.length));
  }
  std::vector<std::string> parts;
  parts.reserve(alone.size());
  for (const auto& [subject, at] : alone) {
    parts.push_back(fmt::format("{} at {}", analysis.subjects[subject].label, fmt::join(at, ", ")));
  }
  if (parts.empty()) return "";
  return fmt::format("Alone with both a score and a time: {}.", fmt::join(parts, "; "));
}

}  // namespace

Section pareto_section(const Analysis& analysis) {
  Section section{"pareto", "Accuracy, speed and memory together", {}, {}, {}, {}};
  const std::vector<ParetoLength> all = find_pareto(analysis);
  std::vector<const ParetoLength*> lengths;
  for (const ParetoLength& length : all) {
    if (length.points.size() > 1) lengths.push_back(&length);
  }
  if (lengths.empty()) return section;
  section.paragraphs.emplace_back(
      "Up and to the left is better; the area of a marker is the peak memory, which it names. The "
      "score is the mean over the tasks that all of a length's subjects have. One dominates "
      "another "
      "only if it is better in accuracy and in each time beyond the 95\u00a0% intervals of both, "
      "and needs no more memory.");
  const std::string alone = alone_text(analysis, all);
  if (!alone.empty()) section.paragraphs.push_back(alone);
  const double largest_bytes = largest_peak(lengths);
  for (const ParetoLength* length : lengths) {
    section.figures.push_back({fmt::format("{} tokens", length_text(length->length)),
                               finding_of(analysis, *length),
                               pareto_chart(analysis, *length, largest_bytes), 3, true});
  }
  section.tables.push_back(pairs_table(analysis, lengths));
  section.tables.push_back(points_table(analysis, lengths));
  return section;
}

}  // namespace sala
