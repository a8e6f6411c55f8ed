// What the figures share: colours, fonts, and how a specification enters the page.
// SPDX-License-Identifier: Apache-2.0
#include "reports/chart_parts.h"

#include <algorithm>

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
