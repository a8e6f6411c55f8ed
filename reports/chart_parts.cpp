// What the figures share: colours, fonts, and how a specification enters the page.
// SPDX-License-Identifier: Apache-2.0
#include "reports/chart_parts.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace sala {

using nlohmann::json;

json field(const char* name, const char* type, const json& title) {
  return {{"field", name}, {"type", type}, {"title", title}};
}

json base_spec() {
  return {{"$schema", "https://vega.github.io/schema/vega-lite/v6.json"},
          {"width", "container"},
          {"autosize", {{"type", "fit-x"}, {"contains", "padding"}}},
          {"background", nullptr},
          {"config",
           {{"font", "system-ui, sans-serif"},
            {"view", {{"stroke", nullptr}}},
            {"axis",
             {{"gridColor", "#e6e8eb"},
              {"domainColor", "#9aa0a6"},
              {"tickColor", "#9aa0a6"},
              {"labelColor", "#3c4043"},
              {"titleColor", "#3c4043"},
              {"labelFontSize", 12},
              {"titleFontSize", 12},
              {"titleFontWeight", "normal"}}},
            {"legend", {{"labelFontSize", 12}, {"labelColor", "#3c4043"}, {"labelLimit", 260}}}}}};
}

const json& ink() {
  static const json colour{{"condition", {{"test", "datum.dark"}, {"value", "#ffffff"}}},
                           {"value", "#000000"}};
  return colour;
}

void log_axis(double low, double high, json& channel) {
  low /= 1.25;
  high *= 1.25;
  json ticks;
  for (const std::vector<int>& steps :
       {std::vector{1}, std::vector{1, 2, 5}, std::vector{1, 2, 3, 4, 5, 6, 7, 8, 9}}) {
    ticks = json::array();
    for (double decade = std::pow(10.0, std::floor(std::log10(low))); decade <= high;
         decade *= 10) {
      for (const int step : steps) {
        const double tick = decade * step;
        if (tick >= low && tick <= high) ticks.push_back(tick);
      }
    }
    if (ticks.size() >= 3) break;
  }
  channel["scale"] = {{"type", "log"}, {"domain", {low, high}}, {"nice", false}};
  channel["axis"] = {{"format", "~r"}};
  if (!ticks.empty()) channel["axis"]["values"] = ticks;
}

SubjectStyle subject_style(const Analysis& analysis) {
  static const std::array<json, 4> dashes{json::array({1, 0}), json::array({6, 3}),
                                          json::array({2, 2}), json::array({8, 3, 2, 3})};
  constexpr std::array<const char*, 4> shapes{"circle", "square", "triangle-up", "diamond"};
  json names = json::array();
  json colours = json::array();
  json dash_range = json::array();
  json shape_range = json::array();
  for (std::size_t i = 0; i < analysis.subjects.size(); ++i) {
    names.push_back(analysis.subjects[i].label);
    colours.push_back(kColours[i % kColours.size()]);
    dash_range.push_back(dashes[i % dashes.size()]);
    shape_range.push_back(shapes[i % shapes.size()]);
  }
  const auto channel = [&](const json& range) {
    json out = field("subject", "nominal", nullptr);
    out["scale"] = {{"domain", names}, {"range", range}};
    out["legend"] = nullptr;  // the page has one for all charts, in text
    return out;
  };
  return {channel(colours), channel(dash_range), channel(shape_range)};
}

void add_side_texts(const json& rows, const json& x, const json& y, int distance, json& spec) {
  for (const bool to_left : {true, false}) {
    json values = json::array();
    for (const json& row : rows) {
      if (row["to_left"] == to_left) values.push_back(row);
    }
    if (values.empty()) continue;
    spec["layer"].push_back(
        {{"data", {{"values", std::move(values)}}},
         {"mark",
          {{"type", "text"},
           {"fontSize", 12},
           {"dx", to_left ? -distance : distance},
           {"align", to_left ? "right" : "left"}}},
         {"encoding", {{"x", x}, {"y", y}, {"text", {{"field", "text"}, {"type", "nominal"}}}}}});
  }
}

void add_crossover_band(const Crossover& crossover, json& spec) {
  if (crossover.length.kind != CrossoverKind::at) return;
  const auto within = [&](double tokens) {
    return std::clamp(tokens, static_cast<double>(crossover.shortest),
                      static_cast<double>(crossover.longest));
  };
  const json data = {{"values",
                      {{{"from", within(crossover.length.interval.low)},
                        {"at", crossover.length.tokens},
                        {"to", within(crossover.length.interval.high)}}}}};
  const json grey = {{"value", "#555555"}};
  const auto x_at = [&](const char* name) {
    json x = spec["encoding"]["x"];
    x["field"] = name;
    return x;
  };
  spec["layer"].push_back(
      {{"data", data},
       {"mark", {{"type", "rect"}, {"opacity", 0.15}}},
       {"encoding", {{"x", x_at("from")}, {"x2", {{"field", "to"}}}, {"color", grey}}}});
  spec["layer"].push_back({{"data", data},
                           {"mark", {{"type", "rule"}, {"strokeDash", {4, 4}}}},
                           {"encoding", {{"x", x_at("at")}, {"color", grey}}}});
}

bool out_of_memory(const Analysis& analysis, std::size_t subject, std::int64_t length) {
  return std::any_of(analysis.failures.begin(), analysis.failures.end(), [&](std::size_t i) {
    const CellRecord& cell = analysis.results->cells[i];
    return analysis.subject_of_cell[i] == subject && cell.context_len == length &&
           cell.status == "oom";
  });
}

std::string island(const json& spec) {
  std::string text = spec.dump(-1, ' ', false, json::error_handler_t::replace);
  for (std::size_t at = 0; (at = text.find('<', at)) != std::string::npos;) {
    text.replace(at, 1, "\\u003c");
  }
  return text;
}

}  // namespace sala
