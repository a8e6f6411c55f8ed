// A gate's verdict as Markdown for a pull request, and as JSON.
// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/gate_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <string_view>

#include "reports/format.h"

namespace sala {
namespace {

using Json = nlohmann::json;

enum class Axis : std::uint8_t { speed, memory, accuracy, completeness };
constexpr const char* kAxisNames[] = {"Speed", "Memory", "Accuracy", "Completeness"};

Axis axis_of(const GateItem& item) {
  if (item.metric == "cell") return Axis::completeness;
  if (item.metric.ends_with("accuracy")) return Axis::accuracy;
  return item.metric.ends_with("_bytes") ? Axis::memory : Axis::speed;
}

/// Worst first: what blocks before what warns, then the largest change.
std::vector<const GateItem*> by_gravity(const std::vector<GateItem>& items, bool strict) {
  constexpr GateVerdict kOrder[] = {GateVerdict::block, GateVerdict::incomplete,
                                    GateVerdict::inconclusive, GateVerdict::warn,
                                    GateVerdict::pass};
  const auto rank = [&](const GateItem& item) {
    return std::pair(std::find(std::begin(kOrder), std::end(kOrder), consequence(item, strict)),
                     -item.decision.change);
  };
  std::vector<const GateItem*> sorted;
  sorted.reserve(items.size());
  for (const GateItem& item : items) sorted.push_back(&item);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [&](const GateItem* a, const GateItem* b) { return rank(*a) < rank(*b); });
  return sorted;
}

const char* symbol(ItemVerdict verdict) {
  switch (verdict) {
    case ItemVerdict::better:
      return "\u25b2";
    case ItemVerdict::worse:
      return "\u25bc";
    case ItemVerdict::same:
      return "=";
    case ItemVerdict::ambiguous:
      return "?";
    case ItemVerdict::missing:
    case ItemVerdict::invalid:
      break;
  }
  return "!";
}

std::string place(const GateItem& item) {
  std::string text = item.task;
  if (item.length > 0) text += " at " + length_text(item.length);
  return item.side.empty() ? text : text + ", " + item.side;
}

std::string number_name(const GateItem& item) {
  if (item.stage.empty() || item.stage == "total") return item.metric;
  return item.metric + " " + item.stage;
}

std::string value_text(const GateItem& item, double value) {
  switch (axis_of(item)) {
    case Axis::accuracy:
      return percent_text(value) + " %";
    case Axis::memory:
      return bytes_text(value);
    case Axis::speed:
      return item.metric.ends_with("_ns") ? duration_text(value) : number_text(value);
    case Axis::completeness:
      break;
  }
  return "";
}

/// Changes are worse when positive, for accuracy too: there the sign is turned for the reader.
std::string change_text(const GateItem& item, double change) {
  if (axis_of(item) == Axis::accuracy) return points_text(-change) + " points";
  return fmt::format("{:+.2f} %", 100 * change);
}

std::string interval_text(const GateItem& item) {
  if (!item.decision.interval) return "";
  const Interval& interval = *item.decision.interval;
  if (axis_of(item) == Axis::accuracy) {
    return points_text(-interval.high) + " to " + points_text(-interval.low);
  }
  return fmt::format("{:+.2f} to {:+.2f} %", 100 * interval.low, 100 * interval.high);
}

std::string tolerance_text(const GateItem& item) {
  if (axis_of(item) == Axis::completeness) return "";
  if (axis_of(item) == Axis::accuracy) return points_text(-item.rule.tolerance);
  return fmt::format("{:+.1f} %", 100 * item.rule.tolerance);
}

/// Text for a cell of a Markdown table.
std::string cell_text(const std::string& text) {
  std::string escaped;
  for (const char c : plain_text(text, 400)) {
    if (c == '|') escaped += '\\';
    escaped += c == '\n' ? ' ' : c;
  }
  return html_escape(escaped);
}

std::string item_row(const GateItem& item) {
  const Decision& decision = item.decision;
  const bool is_measured = decision.n > 0;
  std::string reason = decision.reason;
  if (decision.verdict == ItemVerdict::ambiguous && decision.detectable) {
    reason += fmt::format("{}finds changes from {}", reason.empty() ? "" : "; ",
                          change_text(item, *decision.detectable));
  }
  return fmt::format("| {} {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
                     symbol(decision.verdict), verdict_name(decision.verdict),
                     cell_text(place(item)), number_name(item), tier_name(item.tier),
                     is_measured ? value_text(item, item.baseline) : "",
                     is_measured ? value_text(item, item.candidate) : "",
                     is_measured ? change_text(item, decision.change) : "", interval_text(item),
                     tolerance_text(item), cell_text(reason));
}

constexpr const char* kTableHead =
    "| verdict | work | number | tier | baseline | candidate | change | one-sided 95 % bounds | "
    "tolerance | remark |\n|---|---|---|---|--:|--:|--:|--:|--:|---|\n";

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) {
    return static_cast<char>(c == '_' ? ' ' : std::toupper(c));
  });
  return text;
}

/// The worst number of each axis, one line each.
std::string headline(const std::vector<const GateItem*>& sorted) {
  std::string text;
  for (const Axis axis : {Axis::speed, Axis::memory, Axis::accuracy, Axis::completeness}) {
    const auto worst = std::find_if(sorted.begin(), sorted.end(),
                                    [&](const GateItem* item) { return axis_of(*item) == axis; });
    if (worst == sorted.end()) {
      if (axis != Axis::completeness) {
        text += fmt::format("* {}: not measured\n", kAxisNames[static_cast<int>(axis)]);
      }
      continue;
    }
    const GateItem& item = **worst;
    text += fmt::format("* {}: {} {}", kAxisNames[static_cast<int>(axis)],
                        symbol(item.decision.verdict), verdict_name(item.decision.verdict));
    if (item.decision.n > 0) text += ", " + change_text(item, item.decision.change);
    text += fmt::format(" ({}, {})", number_name(item), cell_text(place(item)));
    if (item.decision.n == 0) text += ": " + cell_text(item.decision.reason);
    text += "\n";
  }
  return text;
}

Json number_or_null(bool is_known, double value) {
  return is_known ? Json(value) : Json();
}

}  // namespace

std::string gate_markdown(const GateReport& report, bool strict) {
  std::string text = fmt::format("## sala gate: {}\n\nbaseline `{}`, candidate `{}`{}\n\n",
                                 upper(verdict_name(report.verdict)), report.baseline,
                                 report.candidate, strict ? ", strict" : "");
  if (!report.reason.empty()) text += cell_text(report.reason) + "\n\n";
  if (report.items.empty()) return text;
  const auto sorted = by_gravity(report.items, strict);
  text += headline(sorted) + "\n";
  const auto first_calm = std::find_if(sorted.begin(), sorted.end(), [&](const GateItem* item) {
    return consequence(*item, strict) == GateVerdict::pass;
  });
  if (first_calm != sorted.begin()) {
    text += kTableHead;
    std::for_each(sorted.begin(), first_calm, [&](const GateItem* i) { text += item_row(*i); });
    text += "\n";
  }
  if (first_calm != sorted.end()) {
    text += fmt::format("<details><summary>{} numbers without a finding</summary>\n\n",
                        std::distance(first_calm, sorted.end()));
    text += kTableHead;
    std::for_each(first_calm, sorted.end(), [&](const GateItem* i) { text += item_row(*i); });
    text += "\n</details>\n";
  }
  if (!report.folder.empty()) {
    text += fmt::format("\nGate {}; the results of every process are in `{}`.\n", report.uid,
                        report.folder);
  }
  return text;
}

std::string gate_json(const GateReport& report, bool strict) {
  Json json{{"verdict", verdict_name(report.verdict)},
            {"exit_code", exit_code(report.verdict)},
            {"reason", report.reason},
            {"strict", strict},
            {"baseline", report.baseline},
            {"candidate", report.candidate},
            {"gate", report.uid},
            {"folder", report.folder},
            {"differences", Json::array()},
            {"items", Json::array()}};
  for (const FieldDifference& difference : report.differences) {
    json["differences"].push_back({{"field", difference.field},
                                   {"baseline", difference.baseline},
                                   {"candidate", difference.candidate}});
  }
  for (const GateItem* item : by_gravity(report.items, strict)) {
    const Decision& decision = item->decision;
    const bool is_measured = decision.n > 0;
    const Interval bounds = decision.interval.value_or(Interval{});
    json["items"].push_back(
        {{"task", item->task},
         {"length", item->length},
         {"side", item->side},
         {"metric", item->metric},
         {"stage", item->stage},
         {"tier", tier_name(item->tier)},
         {"verdict", verdict_name(decision.verdict)},
         {"consequence", verdict_name(consequence(*item, strict))},
         {"reason", decision.reason},
         {"n", decision.n},
         {"baseline", number_or_null(is_measured, item->baseline)},
         {"candidate", number_or_null(is_measured, item->candidate)},
         {"change", number_or_null(is_measured, decision.change)},
         {"low", number_or_null(decision.interval.has_value(), bounds.low)},
         {"high", number_or_null(decision.interval.has_value(), bounds.high)},
         {"p", number_or_null(decision.p.has_value(), decision.p.value_or(0))},
         {"detectable",
          number_or_null(decision.detectable.has_value(), decision.detectable.value_or(0))},
         {"tolerance", item->rule.tolerance},
         {"noise_floor", number_or_null(item->rule.floor.has_value(),
                                        item->rule.floor.value_or(NoiseFloor{}).sd)}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string floors_markdown(const std::vector<GateItem>& items) {
  std::string text = fmt::format(
      "## Noise floor: {} pairs of one binary\n\n| work | number | spread of a pair |\n"
      "|---|---|--:|\n",
      items.front().blocks.first.size());
  for (const GateItem& item : items) {
    text += fmt::format("| {} | {} | {:.2f} % |\n", cell_text(place(item)), number_name(item),
                        100 * sample_deviation(log_ratios(item.blocks.first)));
  }
  return text;
}

std::string floors_json(const std::vector<GateItem>& items) {
  Json json{{"pairs", items.front().blocks.first.size()}, {"floors", Json::array()}};
  for (const GateItem& item : items) {
    json["floors"].push_back({{"task", item.task},
                              {"length", item.length},
                              {"side", item.side},
                              {"metric", item.metric},
                              {"stage", item.stage},
                              {"sd_pair", sample_deviation(log_ratios(item.blocks.first))}});
  }
  return json.dump(2) + "\n";
}

}  // namespace sala
