// What a sweep found, in one table: for the terminal and as JSON.
// SPDX-License-Identifier: Apache-2.0
#include "harness/runner/summary.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "engine/base/error.h"
#include "harness/plan/sizes.h"

namespace sala {
namespace {

double median(const CellRecord& cell, std::string_view metric) {
  std::vector<double> values;
  for (const ValueRecord& row : cell.values) {
    if (row.metric == metric && row.stage == "total") values.push_back(row.value);
  }
  if (values.empty()) return -1;
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double scaled(double value, double factor) {
  return value < 0 ? value : value * factor;
}

std::string shown(double value, int digits) {
  return value < 0 ? "-" : fmt::format("{:.{}f}", value, digits);
}

nlohmann::json number_or_null(double value) {
  return value < 0 ? nlohmann::json() : nlohmann::json(value);
}

}  // namespace

std::vector<SummaryRow> summarize(const Results& results) {
  std::vector<SummaryRow> rows;
  for (const CellRecord& cell : results.cells) {
    const bool is_perf = cell.kind == "perf";
    SummaryRow row{
        .task = is_perf ? "speed" : cell.task,
        .length = cell.context_len,
        .side = nlohmann::json::parse(cell.params).value("side", ""),
        .model = results.models[cell.model].name,
        .status = cell.status,
        .reason = cell.status == "ok" || cell.runs.empty() ? "" : cell.runs.back().reason};
    row.ttft_s = scaled(median(cell, "ttft_ns"), 1e-9);
    row.prefill_tok_s = median(cell, "prefill_tok_s");
    row.decode_ms_per_token = scaled(median(cell, "tpot_ns"), 1e-6);
    row.peak_bytes = median(cell, "device_peak_bytes");
    if (is_perf) {
      row.n = std::count_if(cell.values.begin(), cell.values.end(),
                            [](const ValueRecord& value) { return value.metric == "ttft_ns"; });
    } else {
      row.n = static_cast<std::int64_t>(cell.answers.size());
      double sum = 0;
      for (const AnswerRecord& answer : cell.answers) sum += answer.score;
      if (row.n > 0) row.accuracy = sum / static_cast<double>(row.n);
    }
    rows.push_back(row);
  }
  return rows;
}

std::string summary_table(const std::vector<SummaryRow>& rows) {
  std::string text = fmt::format(
      "{:<18} {:>6}  {:<8}  {:<18} {:>4} {:>6} {:>9} {:>10} {:>10} {:>9}\n", "task", "length",
      "side", "model", "n", "score", "TTFT s", "prefill/s", "ms/token", "peak");
  for (const SummaryRow& row : rows) {
    text += fmt::format(
        "{:<18} {:>6}  {:<8}  {:<18} {:>4} {:>6} {:>9} {:>10} {:>10} {:>9}{}\n", row.task,
        format_size(row.length), row.side, row.model, row.n, shown(row.accuracy, 3),
        shown(row.ttft_s, 3), shown(row.prefill_tok_s, 0), shown(row.decode_ms_per_token, 2),
        row.peak_bytes < 0 ? "-" : format_bytes(static_cast<std::int64_t>(row.peak_bytes)),
        row.status == "ok" ? "" : "  " + row.status + ": " + row.reason);
  }
  return text;
}

std::string summary_json(const std::vector<SummaryRow>& rows, const std::string& sweep_uid,
                         const std::string& database) {
  nlohmann::json json{{"db", database}, {"sweep", sweep_uid}, {"cells", nlohmann::json::array()}};
  for (const SummaryRow& row : rows) {
    json["cells"].push_back({{"accuracy", number_or_null(row.accuracy)},
                             {"decode_ms_per_token", number_or_null(row.decode_ms_per_token)},
                             {"length", row.length},
                             {"model", row.model},
                             {"n", row.n},
                             {"peak_bytes", number_or_null(row.peak_bytes)},
                             {"prefill_tok_s", number_or_null(row.prefill_tok_s)},
                             {"reason", row.reason},
                             {"side", row.side},
                             {"status", row.status},
                             {"task", row.task},
                             {"ttft_s", number_or_null(row.ttft_s)}});
  }
  return json.dump(2) + "\n";
}

}  // namespace sala
