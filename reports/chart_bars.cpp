// Figures with stacked bars: stages of the time, categories of memory.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "reports/chart_parts.h"
#include "reports/charts.h"
#include "reports/format.h"

namespace sala {
namespace {

using nlohmann::json;

constexpr std::array<bool, 8> kDark{true,  true,  true,  false,
                                    false, false, false, false};  // of kColours
constexpr std::size_t kMaxParts = 7;  // of a stacked bar; the rest becomes "other"

struct Part {
  std::string name;
  double value = 0;
};

/// One stacked bar: its largest parts, in an order that all bars of a chart share.
struct Bar {
  std::string label;
  std::vector<Part> parts;
};

json bar_spec(const std::vector<Bar>& bars, const char* title, double scale,
              std::string (*text)(double), bool normalize) {
  std::map<std::string, double> totals;
  for (const Bar& bar : bars) {
    for (const Part& part : bar.parts) totals[part.name] += part.value;
  }
  std::vector<std::string> names;
  names.reserve(totals.size());
  for (const auto& [name, total] : totals) names.push_back(name);
  // Weights stand first: they are the same at every length.
  std::sort(names.begin(), names.end(), [&](const std::string& a, const std::string& b) {
    const auto rank = [&](const std::string& name) {
      return std::tuple(name != "weights", -totals[name], name);
    };
    return rank(a) < rank(b);
  });
  if (names.size() > kMaxParts + 1) {
    names.resize(kMaxParts);
    names.emplace_back("other");
  }
  json values = json::array();
  json labels = json::array();
  double widest = 0;
  for (const Bar& bar : bars) {
    double sum = 0;
    for (const Part& part : bar.parts) sum += part.value;
    widest = std::max(widest, sum);
  }
  for (const Bar& bar : bars) {
    labels.push_back(bar.label);
    std::vector<double> sums(names.size(), 0.0);
    double total = 0;
    for (const Part& part : bar.parts) {
      const auto it = std::find(names.begin(), names.end(), part.name);
      sums[it == names.end() ? names.size() - 1 : static_cast<std::size_t>(it - names.begin())] +=
          part.value;
      total += part.value;
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (sums[i] <= 0) continue;
      const double visible = sums[i] / (normalize ? total : widest);
      const std::string shown = normalize ? percent_text(sums[i] / total) + " %" : text(sums[i]);
      values.push_back({{"bar", bar.label},
                        {"part", names[i]},
                        {"order", i},
                        {"value", sums[i] / scale},
                        {"text", text(sums[i])},
                        {"label", visible > 0.09 ? shown : ""},
                        {"dark", kDark[i]}});
    }
  }
  json colours = json::array();
  for (std::size_t i = 0; i < names.size(); ++i) colours.push_back(kColours[i]);
  json spec = base_spec();
  spec["height"] = 34 * bars.size();
  spec["data"] = {{"values", std::move(values)}};
  json x = field("value", "quantitative", title);
  x["stack"] = normalize ? "normalize" : "zero";
  x["axis"] = {{"tickCount", 6}};
  if (normalize) x["axis"]["format"] = "%";
  json y = field("bar", "nominal", nullptr);
  y["sort"] = labels;
  y["axis"] = {{"labelLimit", 150}, {"domain", false}, {"ticks", false}};
  json colour = field("part", "nominal", nullptr);
  colour["scale"] = {{"domain", names}, {"range", colours}};
  colour["legend"] = {{"orient", "bottom"}, {"columns", 3}};
  json text_x = x;
  text_x["bandPosition"] = 0.5;
  const json order = {{"field", "order"}, {"type", "quantitative"}};
  const json tooltip = {field("bar", "nominal", "subject"), field("part", "nominal", "part"),
                        field("text", "nominal", "value")};
  spec["layer"] = {
      {{"mark", {{"type", "bar"}, {"stroke", "#ffffff"}}},
       {"encoding",
        {{"x", x}, {"y", y}, {"color", colour}, {"order", order}, {"tooltip", tooltip}}}},
      {{"mark", {{"type", "text"}, {"fontSize", 11}}},
       {"encoding",
        {{"x", text_x},
         {"y", y},
         {"order", order},
         {"detail", {{"field", "part"}}},
         {"text", field("label", "nominal", nullptr)},
         {"color", ink()}}}}};
  return spec;
}

}  // namespace

std::string stage_chart(const Analysis& analysis, const std::string& phase, std::int64_t length) {
  std::vector<Bar> bars;
  for (std::size_t s = 0; s < analysis.subjects.size(); ++s) {
    const SpeedRow* row = analysis.speed_at(s, length);
    if (row == nullptr) continue;
    Bar bar{analysis.subjects[s].label, {}};
    for (const auto& [stage, ns] : row->stage_ns) {
      if (stage.starts_with(phase + ".")) bar.parts.push_back({stage.substr(phase.size() + 1), ns});
    }
    if (!bar.parts.empty()) bars.push_back(std::move(bar));
  }
  return island(bar_spec(bars, "share of the time", 1, duration_text, true));
}

std::string memory_chart(const Analysis& analysis) {
  std::vector<Bar> bars;
  for (const std::int64_t length : analysis.lengths) {
    for (std::size_t s = 0; s < analysis.subjects.size(); ++s) {
      const SpeedRow* row = analysis.speed_at(s, length);
      if (row == nullptr || row->ledger.empty()) continue;
      Bar bar{fmt::format("{} \u00b7 {}", length_text(length), analysis.subjects[s].label), {}};
      for (const LedgerRecord& record : row->ledger) {
        bar.parts.push_back({record.category, static_cast<double>(record.at_peak_bytes)});
      }
      bars.push_back(std::move(bar));
    }
  }
  return island(bar_spec(bars, "MiB at the peak", 1048576, bytes_text, false));
}

}  // namespace sala
