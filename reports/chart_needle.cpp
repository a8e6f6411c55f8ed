// Figures of the needle map: accuracy and its difference by depth and length.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "reports/chart_parts.h"
#include "reports/charts.h"
#include "reports/format.h"

namespace sala {
namespace {

using nlohmann::json;

std::string share_text(const Accuracy& accuracy) {
  return accuracy.fractional ? fmt::format("{:.0f} %", 100 * accuracy.mean)
                             : fmt::format("{}/{}", accuracy.n_correct, accuracy.n);
}

std::string depth_text(int depth) {
  return fmt::format("{} %", depth);
}

/// A square without an answer says why.
json missing_square(const GridRow& row, bool oom) {
  return {{"length", length_text(row.length)},
          {"depth", depth_text(row.depth)},
          {"value", nullptr},
          {"text", oom ? "oom" : "\u2013"},
          {"detail", oom ? "out of memory" : "not measured"},
          {"edge", ""},
          {"dark", false}};
}

json heat_spec(const Analysis& analysis, json values, json colour) {
  std::set<std::int64_t> lengths;
  std::set<int> depths;
  for (const GridRow& row : analysis.grid) {
    lengths.insert(row.length);
    depths.insert(row.depth);
  }
  json length_names = json::array();
  json depth_names = json::array();
  for (const std::int64_t length : lengths) length_names.push_back(length_text(length));
  for (const int depth : depths) depth_names.push_back(depth_text(depth));
  json spec = base_spec();
  spec["height"] = 30 * depths.size();
  spec["data"] = {{"values", std::move(values)}};
  json x = field("length", "ordinal", "length in tokens");
  x["scale"] = {{"domain", length_names}};
  x["axis"] = {{"labelAngle", 0}, {"orient", "top"}, {"domain", false}, {"ticks", false}};
  json y = field("depth", "ordinal", "needle depth");
  y["scale"] = {{"domain", depth_names}};
  y["axis"] = {{"domain", false}, {"ticks", false}};
  spec["encoding"] = {{"x", x}, {"y", y}};
  spec["config"]["scale"] = {{"bandPaddingInner", 0.04}};
  const json tooltip = {field("length", "nominal", "tokens"), field("depth", "nominal", "depth"),
                        field("detail", "nominal", "value")};
  // A dashed edge marks squares that rest on fewer than ten prompts, a solid one a difference
  // beyond chance.
  const auto edge = [](const char* name, const char* colour_name, const json& dash) {
    return json{{"transform", {{{"filter", fmt::format("datum.edge == '{}'", name)}}}},
                {"mark",
                 {{"type", "rect"},
                  {"filled", false},
                  {"stroke", colour_name},
                  {"strokeWidth", 1.5},
                  {"strokeDash", dash}}}};
  };
  spec["layer"] = {
      {{"mark", "rect"}, {"encoding", {{"color", std::move(colour)}, {"tooltip", tooltip}}}},
      edge("few", "#5f6368", {3, 3}),
      edge("sure", "#000000", {1, 0}),
      {{"mark", {{"type", "text"}, {"fontSize", 12}}},
       {"encoding",
        {{"text", field("text", "nominal", nullptr)}, {"color", ink()}, {"tooltip", tooltip}}}}};
  return spec;
}

}  // namespace

std::string needle_chart(const Analysis& analysis, std::size_t subject) {
  json values = json::array();
  for (const GridRow& row : analysis.grid) {
    const auto& accuracy = row.accuracy[subject];
    if (!accuracy) {
      values.push_back(missing_square(row, out_of_memory(analysis, subject, row.length)));
      continue;
    }
    values.push_back(
        {{"length", length_text(row.length)},
         {"depth", depth_text(row.depth)},
         {"value", accuracy->mean},
         {"text", share_text(*accuracy)},
         {"detail", fmt::format("{} % of {} (95 %: {})", percent_text(accuracy->mean), accuracy->n,
                                percent_interval_text(accuracy->interval))},
         {"edge", accuracy->n < 10 ? "few" : ""},
         {"dark", accuracy->mean < 0.45}});
  }
  json colour = field("value", "quantitative", nullptr);
  colour["scale"] = {{"scheme", "viridis"}, {"domain", {0, 1}}};
  colour["legend"] = {{"orient", "bottom"}, {"format", ".0%"}, {"gradientLength", 160}};
  return island(heat_spec(analysis, std::move(values), std::move(colour)));
}

std::string needle_difference_chart(const Analysis& analysis) {
  double largest = 0.2;
  for (const GridRow& row : analysis.grid) {
    if (row.paired) largest = std::max(largest, std::fabs(row.paired->difference));
  }
  json values = json::array();
  for (const GridRow& row : analysis.grid) {
    if (!row.paired) {
      values.push_back(missing_square(row, false));
      continue;
    }
    const PairedDifference& paired = *row.paired;
    values.push_back(
        {{"length", length_text(row.length)},
         {"depth", depth_text(row.depth)},
         {"value", paired.difference},
         {"text", points_text(paired.difference)},
         {"detail",
          fmt::format("{} points on {} prompts (95 %: {} to {}; p {})",
                      points_text(paired.difference), paired.n, points_text(paired.interval.low),
                      points_text(paired.interval.high), p_text(paired.p_holm))},
         {"edge", paired.p_holm < 0.05 ? "sure"
                  : paired.n < 10      ? "few"
                                       : ""},
         {"dark", std::fabs(paired.difference) > 0.6 * largest}});
  }
  json colour = field("value", "quantitative", nullptr);
  colour["scale"] = {{"domain", {-largest, 0, largest}},
                     {"range", {"#B35806", "#F4F4F4", "#2166AC"}}};
  colour["legend"] = {{"orient", "bottom"}, {"format", "+.0%"}, {"gradientLength", 160}};
  return island(heat_spec(analysis, std::move(values), std::move(colour)));
}

}  // namespace sala
