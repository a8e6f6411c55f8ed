// Figures with one line a subject: accuracy, cost and likelihood against length.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "harness/compare/ruler_summary.h"
#include "reports/chart_parts.h"
#include "reports/charts.h"
#include "reports/format.h"

namespace sala {
namespace {

using nlohmann::json;

const char* const kLengthLabel =
    "datum.value >= 1048576 && datum.value % 1048576 == 0 ? datum.value / 1048576 + 'M' : "
    "datum.value >= 1024 && datum.value % 1024 == 0 ? datum.value / 1024 + 'k' : datum.value + ''";

json lengths_axis(const Analysis& analysis) {
  return {{"values", analysis.lengths},
          {"labelExpr", kLengthLabel},
          {"labelOverlap", true},
          {"grid", false}};
}

/// Says what the marks mean at each subject's shortest length alone: words at every one overlap.
json with_texts(json ends) {
  std::map<json, std::int64_t> shortest;
  for (const json& end : ends) {
    const auto length = end["length"].get<std::int64_t>();
    const auto found = shortest.try_emplace(end["subject"], length).first;
    found->second = std::min(found->second, length);
  }
  for (json& end : ends) {
    end["text"] = end["length"] == shortest[end["subject"]] ? "\u2715 out of memory" : "\u2715";
  }
  return ends;
}

/// Lines with intervals over length. Rows of `values` have subject, length, value and, where there
/// is an interval, low and high; rows of `ends` have subject and length.
json line_spec(const Analysis& analysis, json values, json ends, json y,
               const char* x_title = "length in tokens") {
  const SubjectStyle style = subject_style(analysis);
  json x = field("length", "quantitative", x_title);
  x["scale"] = {{"type", "log"}, {"base", 2}, {"nice", false}, {"padding", 14}};
  x["axis"] = lengths_axis(analysis);
  const json tooltip = {field("subject", "nominal", "subject"),
                        field("length", "quantitative", "tokens"),
                        field("text", "nominal", "value"), field("n", "quantitative", "n")};
  json rule_y = y;
  rule_y["field"] = "low";
  json spec = base_spec();
  spec["height"] = 240;
  spec["data"] = {{"values", std::move(values)}};
  spec["encoding"] = {{"x", x}, {"color", style.colour}};
  spec["layer"] = json::array();
  spec["layer"].push_back({{"mark", {{"type", "rule"}, {"strokeWidth", 1.5}, {"opacity", 0.7}}},
                           {"encoding", {{"y", rule_y}, {"y2", {{"field", "high"}}}}}});
  spec["layer"].push_back({{"mark", {{"type", "line"}, {"strokeWidth", 2}}},
                           {"encoding", {{"y", y}, {"strokeDash", style.dash}}}});
  spec["layer"].push_back(
      {{"mark", {{"type", "point"}, {"filled", true}, {"size", 70}, {"opacity", 1}}},
       {"encoding", {{"y", y}, {"shape", style.shape}, {"tooltip", tooltip}}}});
  if (!ends.empty()) {
    spec["layer"].push_back(
        {{"data", {{"values", with_texts(std::move(ends))}}},
         {"mark", {{"type", "text"}, {"fontSize", 12}, {"dy", -8}, {"dx", 6}, {"align", "right"}}},
         {"encoding",
          {{"y", {{"value", "height"}}}, {"text", {{"field", "text"}, {"type", "nominal"}}}}}});
  }
  return spec;
}

}  // namespace

std::string accuracy_chart(const Analysis& analysis, const std::string& task) {
  json values = json::array();
  json ends = json::array();
  for (const AccuracyRow& row : analysis.accuracy) {
    if (row.task != task) continue;
    for (std::size_t s = 0; s < analysis.subjects.size(); ++s) {
      if (row.status[s] == "oom") {  // an end of the line, not a score of zero
        ends.push_back({{"subject", analysis.subjects[s].label}, {"length", row.length}});
        continue;
      }
      if (!row.accuracy[s]) continue;
      const Accuracy& accuracy = *row.accuracy[s];
      values.push_back({{"subject", analysis.subjects[s].label},
                        {"length", row.length},
                        {"value", accuracy.mean},
                        {"low", accuracy.interval.low},
                        {"high", accuracy.interval.high},
                        {"n", accuracy.n},
                        {"text", percent_text(accuracy.mean) + " %"}});
    }
  }
  json y = field("value", "quantitative", "accuracy");
  y["scale"] = {{"domain", {0, 1}}};
  y["axis"] = {{"format", "%"}, {"tickCount", 5}};
  json spec = line_spec(analysis, std::move(values), std::move(ends), y);
  spec["height"] = 150;
  return island(spec);
}

std::string length_score_chart(const Analysis& analysis) {
  json values = json::array();
  json ends = json::array();
  for (const LengthRow& row : analysis.length_scores) {
    if (row.mode != analysis.length_scores.front().mode) continue;  // one line a subject
    if (out_of_memory(analysis, row.subject, row.length)) {
      ends.push_back({{"subject", analysis.subjects[row.subject].label}, {"length", row.length}});
      continue;
    }
    values.push_back({{"subject", analysis.subjects[row.subject].label},
                      {"length", row.length},
                      {"value", row.score.mean},
                      {"low", row.score.interval.low},
                      {"high", row.score.interval.high},
                      {"n", row.n},
                      {"text", percent_text(row.score.mean) + " %"}});
  }
  json y = field("value", "quantitative", "mean score");
  y["scale"] = {{"domain", {0, 1}}};
  y["axis"] = {{"format", "%"}, {"tickCount", 5}};
  json spec = line_spec(analysis, std::move(values), std::move(ends), y);
  spec["layer"].push_back(
      {{"data", {{"values", {{{"value", kRulerThreshold / 100}}}}}},
       {"mark", {{"type", "rule"}, {"strokeDash", {4, 4}}, {"opacity", 0.6}}},
       {"encoding", {{"x", nullptr}, {"y", y}, {"color", {{"value", "#555555"}}}}}});
  return island(spec);
}

std::string length_chart(const Analysis& analysis, const std::string& axis_title, double scale,
                         const std::function<std::optional<Estimate>(const SpeedRow&)>& value,
                         const Crossover* crossover) {
  json values = json::array();
  double low = 0;
  double high = 0;
  for (const SpeedRow& row : analysis.speed) {
    const std::optional<Estimate> estimate = value(row);
    if (!estimate) continue;
    values.push_back({{"subject", analysis.subjects[row.subject].label},
                      {"length", row.length},
                      {"value", estimate->value / scale},
                      {"low", estimate->interval.low / scale},
                      {"high", estimate->interval.high / scale},
                      {"n", estimate->n},
                      {"text", number_text(estimate->value / scale)}});
    low = low == 0 ? estimate->interval.low : std::min(low, estimate->interval.low);
    high = std::max(high, estimate->interval.high);
  }
  json ends = json::array();
  for (std::size_t s = 0; s < analysis.subjects.size(); ++s) {
    for (const std::int64_t length : analysis.lengths) {
      if (!out_of_memory(analysis, s, length)) continue;
      ends.push_back({{"subject", analysis.subjects[s].label}, {"length", length}});
    }
  }
  json y = field("value", "quantitative", axis_title);
  log_axis(low / scale, high / scale, y);
  json spec = line_spec(analysis, std::move(values), std::move(ends), y);
  if (crossover != nullptr) add_crossover_band(*crossover, spec);
  return island(spec);
}

std::string position_chart(const Analysis& analysis,
                           const std::vector<std::vector<ChunkRate>>& rates) {
  json values = json::array();
  for (std::size_t s = 0; s < rates.size(); ++s) {
    for (const ChunkRate& rate : rates[s]) {
      values.push_back({{"subject", analysis.subjects[s].label},
                        {"length", rate.position},
                        {"value", rate.tokens_per_s},
                        {"text", number_text(rate.tokens_per_s)}});
    }
  }
  json y = field("value", "quantitative", "tokens a second");
  y["scale"] = {{"zero", true}};
  json spec = line_spec(analysis, std::move(values), json::array(), y, "tokens in context");
  json& x = spec["encoding"]["x"];
  x["scale"] = {{"type", "linear"}, {"padding", 14}};
  x["axis"].erase("values");
  x["axis"]["tickCount"] = 8;
  return island(spec);
}

std::string perplexity_chart(const Analysis& analysis, std::int64_t length) {
  json values = json::array();
  json positions = json::array();
  for (const PerplexityRow& row : analysis.perplexity) {
    if (row.length != length) continue;
    positions.push_back(row.to);
    values.push_back({{"subject", analysis.subjects[row.subject].label},
                      {"length", row.to},
                      {"value", row.nll.value},
                      {"low", row.nll.interval.low},
                      {"high", row.nll.interval.high},
                      {"n", row.nll.n},
                      {"text", number_text(row.nll.value)}});
  }
  json y = field("value", "quantitative", "nats a token");
  y["scale"] = {{"zero", false}};
  json spec = line_spec(analysis, std::move(values), json::array(), y, "position in tokens");
  spec["encoding"]["x"]["axis"]["values"] = positions;
  return island(spec);
}

}  // namespace sala
