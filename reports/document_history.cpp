// Section on history: the same work measured by one build after another, and where it stepped.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "reports/chart_parts.h"
#include "reports/document.h"
#include "reports/format.h"
#include "reports/history.h"

namespace sala {
namespace {

using nlohmann::json;

constexpr std::size_t kMostPanels = 8;

const char* name_of(HistoryMetric metric) {
  switch (metric) {
    case HistoryMetric::ttft:
      return "time to first token";
    case HistoryMetric::decode:
      return "decode time a token";
    case HistoryMetric::peak:
      return "peak memory";
    case HistoryMetric::accuracy:
      break;
  }
  return "accuracy";
}

/// What an axis counts in, and what divides a value for it.
struct Unit {
  const char* title;
  double scale;
};

Unit unit_of(HistoryMetric metric, double largest) {
  if (metric == HistoryMetric::accuracy) return {"mean score", 1};
  if (metric == HistoryMetric::peak) return {"MiB", 1048576};
  return largest >= 1e10 ? Unit{"seconds", 1e9} : Unit{"milliseconds", 1e6};
}

bool is_score(HistoryMetric metric) {
  return metric == HistoryMetric::accuracy;
}

std::string value_text(HistoryMetric metric, double value) {
  if (is_score(metric)) return percent_text(value) + " %";
  return metric == HistoryMetric::peak ? bytes_text(value) : duration_text(value);
}

/// "+5.2 %", for scores "\u22123.0 points".
std::string step_text(HistoryMetric metric, const ChangePoint& change) {
  if (is_score(metric)) return points_text(change.after - change.before) + " points";
  return points_text(change.after / change.before - 1) + " %";
}

const char* verdict_text(HistoryMetric metric, const ChangePoint& change) {
  const bool rose = change.after > change.before;
  return rose == (is_score(metric)) ? "\u25B2 better" : "\u25BC worse";
}

double size_of(HistoryMetric metric, const ChangePoint& change) {
  return std::abs(is_score(metric) ? change.after - change.before
                                   : std::log(change.after / change.before));
}

/// One figure: the series of all subjects on equal work.
using Panel = std::vector<const HistorySeries*>;

bool is_long(const HistorySeries& series) {
  return series.runs.size() >= kFewestForChange;
}

/// Those with the largest steps first, then the longest contexts.
std::vector<Panel> panels_of(const std::vector<HistorySeries>& history) {
  std::map<std::tuple<HistoryMetric, std::string, std::int64_t, std::string>, Panel> by_work;
  for (const HistorySeries& series : history) {
    if (!is_long(series)) continue;
    by_work[{series.metric, series.work, series.length, series.surroundings}].push_back(&series);
  }
  std::vector<Panel> panels;
  panels.reserve(by_work.size());
  for (const auto& [work, panel] : by_work) panels.push_back(panel);
  const auto largest_step = [](const Panel& panel) {
    double largest = 0;
    for (const HistorySeries* series : panel) {
      for (const ChangePoint& change : series->changes) {
        largest = std::max(largest, size_of(series->metric, change));
      }
    }
    return largest;
  };
  std::ranges::stable_sort(panels, [&](const Panel& a, const Panel& b) {
    return std::pair(largest_step(a), a.front()->length) >
           std::pair(largest_step(b), b.front()->length);
  });
  return panels;
}

/// Numbers of the sweeps that have a run in any series, from 1.
std::map<std::size_t, int> number_sweeps(const std::vector<HistorySeries>& history) {
  std::map<std::size_t, int> numbers;
  for (const HistorySeries& series : history) {
    for (const HistoryRun& run : series.runs) numbers[run.sweep] = 0;
  }
  int next = 0;
  for (auto& [sweep, number] : numbers) number = ++next;
  return numbers;
}

/// Rows for the marks of a panel, in the unit of its axis.
struct Marks {
  json runs = json::array();
  json levels = json::array();
  json steps = json::array();
  std::vector<double> values;
};

void add_marks(const Analysis& analysis, const HistorySeries& series,
               const std::map<std::size_t, int>& numbers, double scale, Marks& marks) {
  const std::string& subject = analysis.subjects[series.subject].label;
  // A little to the side for each subject: equal values would hide one another.
  const double aside = 0.12 * (static_cast<double>(series.subject) -
                               static_cast<double>(analysis.subjects.size() - 1) / 2);
  const auto number = [&](std::size_t i) { return numbers.at(series.runs[i].sweep) + aside; };
  std::vector<double> values;
  for (std::size_t i = 0; i < series.runs.size(); ++i) {
    const HistoryRun& run = series.runs[i];
    values.push_back(run.value / scale);
    marks.runs.push_back({{"subject", subject},
                          {"run", number(i)},
                          {"value", run.value / scale},
                          {"text", value_text(series.metric, run.value)},
                          {"commit", run.commit},
                          {"when", utc_text(run.started_us)},
                          {"n", run.n}});
  }
  const auto add_level = [&](std::size_t from, std::size_t to, double level) {
    marks.levels.push_back(
        {{"subject", subject}, {"run", number(from)}, {"to", number(to - 1)}, {"value", level}});
  };
  std::size_t from = 0;
  for (const ChangePoint& change : series.changes) {
    add_level(from, change.at, change.before / scale);
    marks.steps.push_back({{"subject", subject},
                           {"run", (number(change.at - 1) + number(change.at)) / 2},
                           {"text", step_text(series.metric, change)}});
    from = change.at;
  }
  add_level(from, values.size(),
            series.changes.empty() ? median(values) : series.changes.back().after / scale);
  marks.values.insert(marks.values.end(), values.begin(), values.end());
}

/// A dashed rule at each step, with its size beside it; one line of words a step.
void add_steps(json steps, int n_runs, Interval range, const json& x, const json& y, json& spec) {
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const double down = 0.04 + 0.08 * static_cast<double>(i % 8);
    steps[i]["value"] = range.high - down * (range.high - range.low);
    steps[i]["to_left"] = 2 * steps[i]["run"].get<double>() > n_runs;
  }
  spec["layer"].push_back({{"data", {{"values", steps}}},
                           {"mark", {{"type", "rule"}, {"strokeDash", {4, 4}}}},
                           {"encoding", {{"x", x}}}});
  add_side_texts(steps, x, y, 5, spec);
}

std::string history_chart(const Analysis& analysis, const Panel& panel,
                          const std::map<std::size_t, int>& numbers) {
  const HistoryMetric metric = panel.front()->metric;
  double largest = 0;
  for (const HistorySeries* series : panel) {
    for (const HistoryRun& run : series->runs) largest = std::max(largest, run.value);
  }
  const Unit unit = unit_of(metric, largest);
  Marks marks;
  for (const HistorySeries* series : panel) {
    add_marks(analysis, *series, numbers, unit.scale, marks);
  }
  const int n_runs = static_cast<int>(numbers.size());
  // At least a tenth of the value, so that noise does not fill the figure; room for words on top.
  const auto [low, high] = std::ranges::minmax(marks.values);
  const double pad = std::max(0.1 * (high - low), 0.05 * high);
  const Interval range{std::max(0.0, low - pad), high + (marks.steps.empty() ? 1 : 2) * pad};
  const SubjectStyle style = subject_style(analysis);
  json x = field("run", "quantitative", "run, in the order in which they began");
  x["scale"] = {{"domain", {1, n_runs}}, {"nice", false}, {"padding", 14}};
  x["axis"] = {{"tickMinStep", 1}, {"format", "d"}, {"grid", false}};
  json y = field("value", "quantitative", unit.title);
  y["scale"] = {{"domain", {range.low, range.high}}, {"nice", false}};
  y["axis"] = {{"format", is_score(metric) ? "%" : "~r"}, {"tickCount", 5}};
  const json tooltip = {field("subject", "nominal", "subject"), field("when", "nominal", "began"),
                        field("commit", "nominal", "commit"), field("text", "nominal", "value"),
                        field("n", "quantitative", "n")};
  json spec = base_spec();
  spec["height"] = 200;
  spec["data"] = {{"values", marks.runs}};
  spec["encoding"] = {{"x", x}, {"color", style.colour}};
  spec["layer"] = json::array();
  spec["layer"].push_back({{"data", {{"values", marks.levels}}},
                           {"mark", {{"type", "rule"}, {"strokeWidth", 2}, {"opacity", 0.6}}},
                           {"encoding", {{"y", y}, {"x2", {{"field", "to"}}}}}});
  spec["layer"].push_back(
      {{"mark", {{"type", "point"}, {"filled", true}, {"size", 55}, {"opacity", 1}}},
       {"encoding", {{"y", y}, {"shape", style.shape}, {"tooltip", tooltip}}}});
  if (!marks.steps.empty()) add_steps(marks.steps, n_runs, range, x, y, spec);
  return island(spec);
}

/// "time to first token, speed at 64k tokens".
std::string title_of(const HistorySeries& series, bool with_surroundings) {
  return fmt::format("{}, {} at {} tokens{}", name_of(series.metric), series.work,
                     length_text(series.length),
                     with_surroundings ? ", surroundings " + series.surroundings : "");
}

std::string finding_of(const Analysis& analysis, const Panel& panel) {
  std::string finding;
  for (const HistorySeries* series : panel) {
    for (const ChangePoint& change : series->changes) {
      const HistoryRun& run = series->runs[change.at];
      finding += fmt::format("{}{}: {} {} from {} on", finding.empty() ? "" : "; ",
                             analysis.subjects[series->subject].label,
                             verdict_text(series->metric, change),
                             step_text(series->metric, change), run.commit);
    }
  }
  return finding.empty() ? "No step." : finding + ".";
}

Table changes_table(const Analysis& analysis, const std::vector<HistorySeries>& history) {
  Table table;
  table.caption = "Steps: the first run at a new level, and the medians of both levels";
  table.columns = {{"metric", false}, {"work", false},   {"length", true}, {"subject", false},
                   {"began", false},  {"commit", false}, {"from", true},   {"to", true},
                   {"change", true},  {"", false}};
  for (const HistorySeries& series : history) {
    for (const ChangePoint& change : series.changes) {
      const HistoryRun& run = series.runs[change.at];
      table.rows.push_back({name_of(series.metric), series.work, length_text(series.length),
                            analysis.subjects[series.subject].label, utc_text(run.started_us),
                            run.commit, value_text(series.metric, change.before),
                            value_text(series.metric, change.after),
                            step_text(series.metric, change), verdict_text(series.metric, change)});
    }
  }
  return table;
}

Table series_table(const Analysis& analysis, const std::vector<HistorySeries>& history,
                   bool with_surroundings) {
  Table table;
  table.caption = "Every series";
  table.columns = {{"metric", false}, {"work", false}, {"length", true}, {"subject", false},
                   {"runs", true},    {"first", true}, {"lowest", true}, {"highest", true},
                   {"last", true},    {"steps", true}};
  if (with_surroundings) table.columns.push_back({"surroundings", false});
  table.folded = true;
  for (const HistorySeries& series : history) {
    const auto text = [&](const HistoryRun& run) { return value_text(series.metric, run.value); };
    const auto [lowest, highest] = std::ranges::minmax_element(series.runs, {}, &HistoryRun::value);
    std::vector<std::string>& cells = table.rows.emplace_back();
    cells = {name_of(series.metric),
             series.work,
             length_text(series.length),
             analysis.subjects[series.subject].label,
             fmt::format("{}", series.runs.size()),
             text(series.runs.front()),
             text(*lowest),
             text(*highest),
             text(series.runs.back()),
             is_long(series) ? fmt::format("{}", series.changes.size()) : "too few runs"};
    if (with_surroundings) cells.push_back(series.surroundings);
  }
  return table;
}

}  // namespace

Section history_section(const Analysis& analysis) {
  Section section{"history", "History over runs", {}, {}, {}, {}};
  const std::vector<HistorySeries> history = find_history(analysis);
  const std::vector<Panel> panels = panels_of(history);
  if (panels.empty()) return section;
  std::set<std::string> surroundings;
  std::size_t n_long = 0;
  for (const HistorySeries& series : history) {
    surroundings.insert(series.surroundings);
    n_long += is_long(series) ? 1 : 0;
  }
  const bool with_surroundings = surroundings.size() > 1;
  const std::map<std::size_t, int> numbers = number_sweeps(history);
  section.paragraphs.push_back(fmt::format(
      "The same work with the same settings in the same surroundings, by one build after another, "
      "superseded runs too. A point is a run: the median of its times, its largest peak, its mean "
      "score; a bar is a level. A step is where a piecewise constant fit by least absolute "
      "deviations pays for one level more, with {} runs or more at each and at least 1 % (2 "
      "points of a score) between them; of a hundred series of noise alone at most one shows any.",
      kShortestLevel));
  Table changes = changes_table(analysis, history);
  section.paragraphs.push_back(fmt::format(
      "{} of {} series have the {} runs that can show a step, {}.{}", n_long, history.size(),
      kFewestForChange,
      changes.rows.empty() ? "and none of them does"
                           : fmt::format("{} steps in all", changes.rows.size()),
      panels.size() <= kMostPanels
          ? ""
          : fmt::format(" {} of {} figures are drawn, those with the largest steps first and then "
                        "the longest contexts.",
                        kMostPanels, panels.size())));
  for (std::size_t i = 0; i < std::min(kMostPanels, panels.size()); ++i) {
    std::string title = title_of(*panels[i].front(), with_surroundings);
    title.front() = static_cast<char>(std::toupper(title.front()));
    section.figures.push_back({title, finding_of(analysis, panels[i]),
                               history_chart(analysis, panels[i], numbers), 2, true});
  }
  if (!changes.rows.empty()) section.tables.push_back(std::move(changes));
  section.tables.push_back(series_table(analysis, history, with_surroundings));
  return section;
}

}  // namespace sala
