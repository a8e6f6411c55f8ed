// Section on fidelity: what selection costs against the same weights with dense layers.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "harness/compare/fidelity_summary.h"
#include "reports/chart_parts.h"
#include "reports/document.h"
#include "reports/format.h"

namespace sala {
namespace {

using nlohmann::json;

constexpr const char* kNone = "\u2014";

/// All cells of a subject at a length, or of one of its tasks there.
struct FidelityRow {
  std::size_t subject = 0;
  std::string task;  // empty: all of them
  std::int64_t length = 0;
  CellList cells;
  FidelitySummary summary{};
};

std::vector<FidelityRow> fidelity_rows(const Analysis& analysis, bool by_task) {
  std::map<std::tuple<std::size_t, std::string, std::int64_t>, CellList> cells;
  for (const std::size_t i : analysis.cells) {
    const CellRecord& cell = analysis.results->cells[i];
    if (cell.kind != "fidelity" || cell.status != "ok") continue;
    cells[{analysis.subject_of_cell[i], by_task ? task_label(cell) : "", cell.context_len}]
        .push_back(&cell);
  }
  std::vector<FidelityRow> rows;
  rows.reserve(cells.size());
  for (const auto& [key, list] : cells) {
    const auto& [subject, task, length] = key;
    rows.push_back({subject, task, length, list, summarize_fidelity(list)});
  }
  return rows;
}

std::string share_text(std::optional<double> share) {
  return share ? percent_text(*share) : kNone;
}

/// Of numbers that may be as small as rounding: 1.2e-03, or 0.
std::string small_text(double value) {
  return value == 0 ? "0" : fmt::format("{:.1e}", value);
}

std::string count_text(std::int64_t n) {
  return fmt::format("{}", n);
}

/// Subject, task, length and prompts of a row, with what follows them.
std::vector<std::string> with_row(const Analysis& analysis, const FidelityRow& row,
                                  std::vector<std::string> cells) {
  cells.insert(cells.begin(), {analysis.subjects[row.subject].label, row.task,
                               length_text(row.length), count_text(row.summary.n)});
  return cells;
}

std::vector<Column> with_row(std::vector<Column> columns) {
  columns.insert(columns.begin(),
                 {{"subject", false}, {"task", false}, {"length", true}, {"n", true}});
  return columns;
}

Table selection_table(const Analysis& analysis, const std::vector<FidelityRow>& rows) {
  Table table;
  table.caption = "Selection at the question and the answer, mean over layers";
  table.columns = with_row({{"blocks read %", true},
                            {"top blocks %", true},
                            {"attention mass %", true},
                            {"of the best %", true},
                            {"needle %", true},
                            {"output error", true}});
  for (const FidelityRow& row : rows) {
    if (!row.summary.whole.question) continue;
    const SelectionMeans& means = *row.summary.whole.question;
    table.rows.push_back(with_row(analysis, row,
                                  {percent_text(means.density), share_text(means.topk_recall),
                                   percent_text(means.mass_recall), percent_text(means.efficiency),
                                   share_text(means.needle_hit), small_text(means.out_rel_l2)}));
  }
  return table;
}

Table divergence_table(const Analysis& analysis, const std::vector<FidelityRow>& rows) {
  Table table;
  table.caption =
      "Logits (KLD in nats a position) and answers against the same weights with dense layers";
  table.columns = with_row({{"KLD", true},
                            {"95 %", true},
                            {"p99", true},
                            {"max", true},
                            {"top-1 %", true},
                            {"identical", true},
                            {"near tie", true},
                            {"between", true},
                            {"hard", true},
                            {"score %", true},
                            {"dense %", true}});
  for (const FidelityRow& row : rows) {
    if (!row.summary.divergence) continue;
    const DivergenceSummary& d = *row.summary.divergence;
    std::vector<std::string> cells{
        small_text(d.kld_mean),
        fmt::format("{}\u2013{}", small_text(d.kld_interval.low), small_text(d.kld_interval.high)),
        small_text(d.kld_p99), small_text(d.kld_max), percent_text(d.top1_agree)};
    for (const std::int64_t n : d.classes) cells.push_back(count_text(n));
    cells.push_back(percent_text(d.accuracy));
    cells.push_back(percent_text(d.dense_accuracy));
    table.rows.push_back(with_row(analysis, row, std::move(cells)));
  }
  return table;
}

void add_attribution(const Attribution& a, std::vector<std::string>& cells) {
  for (const std::int64_t n : {a.fine, a.selected_unused, a.selection_miss, a.lucky}) {
    cells.push_back(a.n() == 0 ? kNone : count_text(n));
  }
}

const std::vector<Column>& attribution_columns() {
  static const std::vector<Column> columns{
      {"fine", true}, {"selected, unused", true}, {"selection miss", true}, {"lucky", true}};
  return columns;
}

Table attribution_table(const Analysis& analysis, const std::vector<FidelityRow>& rows) {
  Table table;
  table.caption = "Was the needle's block selected by any layer, and was the answer right? Prompts";
  table.columns = with_row(attribution_columns());
  table.columns.push_back({"right when forced", true});
  for (const FidelityRow& row : rows) {
    if (row.summary.whole.attribution.n() == 0) continue;
    std::vector<std::string> cells;
    add_attribution(row.summary.whole.attribution, cells);
    cells.push_back(fmt::format("{} of {}", row.summary.n_forced_right, row.summary.n_forced));
    table.rows.push_back(with_row(analysis, row, std::move(cells)));
  }
  return table;
}

/// Layers, or layers and KV heads, at every length.
Table layer_table(const Analysis& analysis, const std::vector<FidelityRow>& rows, bool by_head) {
  Table table;
  table.caption = by_head ? "Selection by layer and KV head" : "Selection by layer";
  table.columns = {{"subject", false}, {"length", true}, {"layer", true}};
  if (by_head) table.columns.push_back({"KV head", true});
  for (const char* name : {"blocks read %", "top blocks %", "attention mass %", "in the context %",
                           "of the best %", "needle %", "output error", "output cosine"}) {
    table.columns.push_back({name, true});
  }
  if (!by_head) {
    table.columns.insert(table.columns.end(), attribution_columns().begin(),
                         attribution_columns().end());
  }
  table.folded = true;
  for (const FidelityRow& row : rows) {
    for (const LayerFidelity& layer : by_head ? row.summary.heads : row.summary.layers) {
      if (!layer.question) continue;
      const SelectionMeans& means = *layer.question;
      std::vector<std::string> cells{analysis.subjects[row.subject].label, length_text(row.length),
                                     fmt::format("{}", layer.layer)};
      if (by_head) cells.push_back(fmt::format("{}", layer.head));
      const auto& context = layer.context;
      for (const std::string& text :
           {percent_text(means.density), share_text(means.topk_recall),
            percent_text(means.mass_recall), context ? percent_text(context->mass_recall) : kNone,
            percent_text(means.efficiency), share_text(means.needle_hit),
            small_text(means.out_rel_l2), fmt::format("{:.4f}", means.out_cos)}) {
        cells.push_back(text);
      }
      if (!by_head) add_attribution(layer.attribution, cells);
      table.rows.push_back(std::move(cells));
    }
  }
  return table;
}

/// A number of every layer, one line a length. Lengths from light to dark, as they have an order.
std::string layer_chart(const std::vector<FidelityRow>& rows, std::size_t subject, json y,
                        const std::function<std::optional<double>(const SelectionMeans&)>& get) {
  json values = json::array();
  json lengths = json::array();
  for (const FidelityRow& row : rows) {
    if (row.subject != subject) continue;
    lengths.push_back(length_text(row.length));
    for (const LayerFidelity& layer : row.summary.layers) {
      const std::optional<double> value = layer.question ? get(*layer.question) : std::nullopt;
      if (!value) continue;
      values.push_back({{"layer", layer.layer},
                        {"length", length_text(row.length)},
                        {"value", *value},
                        {"n", row.summary.n}});
    }
  }
  json x = field("layer", "ordinal", "layer");
  x["axis"] = {{"labelAngle", 0}, {"grid", false}};
  json colour = field("length", "ordinal", "tokens");
  colour["scale"] = {{"domain", lengths}, {"scheme", "viridis"}, {"reverse", true}};
  json spec = base_spec();
  spec["height"] = 200;
  spec["data"] = {{"values", std::move(values)}};
  spec["mark"] = {{"type", "line"}, {"point", {{"size", 50}}}, {"strokeWidth", 2}};
  spec["encoding"] = {
      {"x", x},
      {"y", std::move(y)},
      {"color", colour},
      {"tooltip",
       {field("length", "nominal", "tokens"), field("layer", "ordinal", "layer"),
        field("value", "quantitative", "value"), field("n", "quantitative", "prompts")}}};
  return island(spec);
}

void add_figures(const Analysis& analysis, const std::vector<FidelityRow>& rows, Section& section) {
  std::set<std::size_t> subjects;
  for (const FidelityRow& row : rows) {
    if (!row.summary.layers.empty()) subjects.insert(row.subject);
  }
  json share = field("value", "quantitative", nullptr);
  share["scale"] = {{"domain", {0, 1}}};
  share["axis"] = {{"format", "%"}, {"tickCount", 5}};
  json error = field("value", "quantitative", nullptr);
  error["axis"] = {{"format", "~g"}, {"tickCount", 5}};
  for (const std::size_t s : subjects) {
    const std::string of = subjects.size() > 1 ? ", " + analysis.subjects[s].label : "";
    section.figures.push_back(
        {"Attention mass of the blocks read" + of, "Share of dense attention that falls on them.",
         layer_chart(rows, s, share, [](const SelectionMeans& m) { return m.mass_recall; }), 3});
    section.figures.push_back(
        {"Needle's blocks read" + of, "Share of the queries that read them.",
         layer_chart(rows, s, share, [](const SelectionMeans& m) { return m.needle_hit; }), 3});
    section.figures.push_back(
        {"Error of the layer's output" + of, "Size of the difference over that of the output.",
         layer_chart(rows, s, error, [](const SelectionMeans& m) { return m.out_rel_l2; }), 3});
  }
}

/// KLD and agreement by length, one line a task.
std::string divergence_chart(const Analysis& analysis, const std::vector<FidelityRow>& rows, json y,
                             const std::function<double(const DivergenceSummary&)>& get) {
  json values = json::array();
  for (const FidelityRow& row : rows) {
    if (!row.summary.divergence) continue;
    const std::string& label = analysis.subjects[row.subject].label;
    values.push_back({{"task", analysis.subjects.size() > 1 ? label + ", " + row.task : row.task},
                      {"length", length_text(row.length)},
                      {"tokens", row.length},
                      {"value", get(*row.summary.divergence)},
                      {"n", row.summary.n}});
  }
  json x = field("length", "ordinal", "length in tokens");
  x["sort"] = {{"field", "tokens"}};
  x["axis"] = {{"labelAngle", 0}, {"grid", false}};
  json colour = field("task", "nominal", nullptr);
  colour["scale"] = {{"range", kColours}};
  colour["legend"] = {{"orient", "bottom"}, {"columns", 2}};
  json spec = base_spec();
  spec["height"] = 200;
  spec["data"] = {{"values", std::move(values)}};
  spec["mark"] = {{"type", "line"}, {"point", {{"size", 50}}}, {"strokeWidth", 2}};
  spec["encoding"] = {
      {"x", x},
      {"y", std::move(y)},
      {"color", colour},
      {"tooltip",
       {field("task", "nominal", "task"), field("length", "nominal", "tokens"),
        field("value", "quantitative", "value"), field("n", "quantitative", "prompts")}}};
  return island(spec);
}

void add_divergence_figures(const Analysis& analysis, const std::vector<FidelityRow>& rows,
                            Section& section) {
  std::set<std::int64_t> lengths;
  for (const FidelityRow& row : rows) {
    if (row.summary.divergence) lengths.insert(row.length);
  }
  if (lengths.size() < 2) return;
  json kld = field("value", "quantitative", "nats a position");
  kld["scale"] = {{"type", "symlog"}, {"constant", 1e-6}};
  kld["axis"] = {{"format", "~e"},
                 {"labelExpr", "datum.value === 0 ? '0' : datum.label"},
                 {"values", {0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10}}};
  json agree = field("value", "quantitative", nullptr);
  agree["axis"] = {{"format", "~%"}, {"tickCount", 5}};
  agree["scale"] = {{"zero", false}};
  section.figures.push_back(
      {"Divergence of the logits", "0 where every layer is dense by the engine's own rule.",
       divergence_chart(analysis, rows, kld, [](const DivergenceSummary& d) { return d.kld_mean; }),
       2});
  section.figures.push_back(
      {"Same token first", "Share of the positions.",
       divergence_chart(analysis, rows, agree,
                        [](const DivergenceSummary& d) { return d.top1_agree; }),
       2});
}

}  // namespace

Section fidelity_section(const Analysis& analysis) {
  Section section{"fidelity", "Selection fidelity", {}, {}, {}, {}};
  const std::vector<FidelityRow> tasks = fidelity_rows(analysis, true);
  if (tasks.empty()) return section;
  const std::vector<FidelityRow> lengths = fidelity_rows(analysis, false);
  section.paragraphs.emplace_back(
      "What block selection costs: the model as designed against the same weights with full "
      "attention in place of every block-sparse layer, on the same prompts. Attention is computed "
      "exactly at sampled queries, so that it is known which blocks should have been read. A "
      "miss with the needle selected is not selection's fault; one without it may be.");
  add_figures(analysis, lengths, section);
  add_divergence_figures(analysis, tasks, section);
  for (Table table : {selection_table(analysis, tasks), divergence_table(analysis, tasks),
                      attribution_table(analysis, tasks), layer_table(analysis, lengths, false),
                      layer_table(analysis, lengths, true)}) {
    if (!table.rows.empty()) section.tables.push_back(std::move(table));
  }
  return section;
}

}  // namespace sala
