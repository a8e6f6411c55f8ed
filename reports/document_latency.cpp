// Section on decode latency: how the gaps between tokens are distributed.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "reports/chart_parts.h"
#include "reports/charts.h"
#include "reports/document.h"
#include "reports/format.h"

namespace sala {
namespace {

constexpr int kMostPoints = 200;

/// The longest length at which as many subjects as possible have gaps; 0 when none has.
std::int64_t latency_length(const Analysis& analysis) {
  std::int64_t best = 0;
  int most = 1;
  for (const std::int64_t length : analysis.lengths) {
    int n = 0;
    for (const SpeedRow& row : analysis.speed) {
      n += row.length == length && !row.token_gaps_ns.empty() ? 1 : 0;
    }
    if (n < most) continue;
    most = n;
    best = length;
  }
  return best;
}

}  // namespace

std::string latency_chart(const Analysis& analysis, std::int64_t length) {
  using nlohmann::json;
  json values = json::array();
  for (const SpeedRow& row : analysis.speed) {
    if (row.length != length || row.token_gaps_ns.empty()) continue;
    for (int i = 0; i < kMostPoints; ++i) {
      const double share = static_cast<double>(i) / (kMostPoints - 1);
      values.push_back({{"subject", analysis.subjects[row.subject].label},
                        {"ms", quantile(row.token_gaps_ns, share) * 1e-6},
                        {"share", share}});
    }
  }
  const SubjectStyle style = subject_style(analysis);
  json x = field("ms", "quantitative", "milliseconds from one token to the next");
  x["scale"] = {{"type", "log"}, {"nice", false}};
  x["axis"] = {{"format", "~r"}, {"tickCount", 6}};
  json y = field("share", "quantitative", "share of gaps no longer");
  y["axis"] = {{"format", "%"}, {"tickCount", 5}};
  json spec = base_spec();
  spec["height"] = 240;
  spec["data"] = {{"values", std::move(values)}};
  spec["mark"] = {{"type", "line"}, {"strokeWidth", 2}};
  spec["encoding"] = {{"x", x},
                      {"y", y},
                      {"order", {{"field", "share"}, {"type", "quantitative"}}},
                      {"color", style.colour},
                      {"strokeDash", style.dash}};
  return island(spec);
}

Section latency_section(const Analysis& analysis) {
  Section section{"latency", "Decode latency", {}, {}, {}, {}};
  const std::int64_t length = latency_length(analysis);
  if (length == 0) return section;
  section.paragraphs.emplace_back(
      "Every time from one token to the next, over all requests of a length. Medians hide pauses; "
      "a reader of the answer does not.");
  section.figures.push_back(
      {fmt::format("Time between tokens at {} tokens", length_text(length)),
       "The further a line runs to the right near its top, the longer the slowest tokens take.",
       latency_chart(analysis, length), 1, true});
  Table table;
  table.caption = "Time from one token to the next, quantiles over all gaps";
  table.columns = {{"subject", false}, {"length", true},  {"p50", true}, {"p95", true},
                   {"p99", true},      {"longest", true}, {"n", true}};
  for (const SpeedRow& row : analysis.speed) {
    const std::vector<double>& gaps = row.token_gaps_ns;
    if (gaps.empty()) continue;
    table.rows.push_back({analysis.subjects[row.subject].label, length_text(row.length),
                          duration_text(quantile(gaps, 0.5)), duration_text(quantile(gaps, 0.95)),
                          duration_text(quantile(gaps, 0.99)), duration_text(gaps.back()),
                          fmt::format("{}", gaps.size())});
  }
  section.tables.push_back(std::move(table));
  return section;
}

}  // namespace sala
