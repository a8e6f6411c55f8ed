// What a sweep found, in one table: for the terminal and as JSON.
// SPDX-License-Identifier: Apache-2.0
#include "harness/runner/summary.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <tuple>

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
    row.prefill_j_tok = median(cell, "prefill_j_tok");
    row.decode_j_tok = median(cell, "decode_j_tok");
    if (is_perf) {
      row.n = std::count_if(cell.values.begin(), cell.values.end(),
                            [](const ValueRecord& value) { return value.metric == "ttft_ns"; });
    } else {
      row.n = static_cast<std::int64_t>(cell.answers.size());
      ClusteredScores scores;
      for (const AnswerRecord& answer : cell.answers) {
        scores.scores.push_back(answer.score);
        scores.clusters.push_back(answer.cluster);
      }
      if (row.n > 0) {
        const Accuracy accuracy = estimate_accuracy(scores);
        row.accuracy = accuracy.mean;
        row.interval = accuracy.interval;
      }
    }
    rows.push_back(row);
  }
  return rows;
}

std::optional<PairedDifference> summarize_pair(const Results& results) {
  using Prompt = std::tuple<std::string, std::int64_t, std::int64_t>;  // task, prompt, repeat
  std::map<Prompt, const AnswerRecord*> of_baseline;
  const auto for_each_answer = [&](std::string_view side, const auto& visit) {
    for (const CellRecord& cell : results.cells) {
      if (cell.kind != "accuracy" || cell.scorer == "perplexity") continue;
      if (nlohmann::json::parse(cell.params).value("side", "") != side) continue;
      for (const AnswerRecord& answer : cell.answers) {
        visit(Prompt{cell.task, answer.prompt, answer.repeat}, answer);
      }
    }
  };
  for_each_answer("baseline", [&](const Prompt& prompt, const AnswerRecord& answer) {
    of_baseline[prompt] = &answer;
  });
  std::vector<double> first;
  std::vector<double> second;
  std::vector<std::string> clusters;
  for_each_answer("model", [&](const Prompt& prompt, const AnswerRecord& answer) {
    const auto found = of_baseline.find(prompt);
    if (found == of_baseline.end()) return;
    first.push_back(answer.score);
    second.push_back(found->second->score);
    clusters.push_back(answer.cluster);
  });
  if (first.empty()) return std::nullopt;
  return compare_paired(first, second, clusters);
}

namespace {

const char* word(Verdict verdict) {
  switch (verdict) {
    case Verdict::better:
      return "better";
    case Verdict::worse:
      return "worse";
    case Verdict::same:
      return "the same within 2 points";
    case Verdict::none:
    case Verdict::undecided:
      break;
  }
  return "undecided";
}

std::string pair_text(const PairedDifference& pair) {
  std::string text = fmt::format(
      "\nmodel minus baseline on the same {} prompts: {:+.1f} points, 95 % interval {:+.1f} to "
      "{:+.1f}, p {:.3f}: {}\n",
      pair.n, 100 * pair.difference, 100 * pair.interval.low, 100 * pair.interval.high, pair.p,
      word(verdict_of(pair)));
  return text + fmt::format(
                    "{} prompts find a true difference of {:.1f} points with 80 % power; 2 "
                    "points need about {}\n",
                    pair.n, 100 * pair.detectable(), pair.samples_needed());
}

}  // namespace

std::string summary_table(const std::vector<SummaryRow>& rows,
                          const std::optional<PairedDifference>& pair) {
  std::size_t width = 18;
  for (const SummaryRow& row : rows) width = std::max(width, row.task.size());
  std::string text = fmt::format(
      "{:<{}} {:>6}  {:<8}  {:<18} {:>4} {:>6} {:>13} {:>9} {:>10} {:>10} {:>9}\n", "task", width,
      "length", "side", "model", "n", "score", "95 %", "TTFT s", "prefill/s", "ms/token", "peak");
  for (const SummaryRow& row : rows) {
    text += fmt::format(
        "{:<{}} {:>6}  {:<8}  {:<18} {:>4} {:>6} {:>13} {:>9} {:>10} {:>10} {:>9}{}\n", row.task,
        width, format_size(row.length), row.side, row.model, row.n, shown(row.accuracy, 3),
        row.accuracy < 0 ? "-" : fmt::format("{:.3f}-{:.3f}", row.interval.low, row.interval.high),
        shown(row.ttft_s, 3), shown(row.prefill_tok_s, 0), shown(row.decode_ms_per_token, 2),
        row.peak_bytes < 0 ? "-" : format_bytes(static_cast<std::int64_t>(row.peak_bytes)),
        row.status == "ok" ? "" : "  " + row.status + ": " + row.reason);
  }
  return pair ? text + pair_text(*pair) : text;
}

std::string summary_json(const std::vector<SummaryRow>& rows,
                         const std::optional<PairedDifference>& pair, const std::string& sweep_uid,
                         const std::string& database) {
  nlohmann::json json{{"db", database},
                      {"sweep", sweep_uid},
                      {"pair", nullptr},
                      {"cells", nlohmann::json::array()}};
  if (pair) {
    json["pair"] = {{"detectable_difference", pair->detectable()},
                    {"difference", pair->difference},
                    {"interval", {pair->interval.low, pair->interval.high}},
                    {"n", pair->n},
                    {"only_baseline", pair->only_second},
                    {"only_model", pair->only_first},
                    {"p", pair->p},
                    {"verdict", word(verdict_of(*pair))}};
  }
  for (const SummaryRow& row : rows) {
    const bool scored = row.accuracy >= 0;
    json["cells"].push_back(
        {{"accuracy", number_or_null(row.accuracy)},
         {"accuracy_high", scored ? nlohmann::json(row.interval.high) : nullptr},
         {"accuracy_low", scored ? nlohmann::json(row.interval.low) : nullptr},
         {"decode_j_per_token", number_or_null(row.decode_j_tok)},
         {"decode_ms_per_token", number_or_null(row.decode_ms_per_token)},
         {"length", row.length},
         {"model", row.model},
         {"n", row.n},
         {"peak_bytes", number_or_null(row.peak_bytes)},
         {"prefill_j_per_token", number_or_null(row.prefill_j_tok)},
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
