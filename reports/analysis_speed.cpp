// Times and memory by length.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <set>

#include "reports/analysis.h"

namespace sala {
namespace {

std::optional<Estimate> estimate(const std::vector<double>& values) {
  if (values.empty()) return std::nullopt;
  return Estimate{static_cast<std::int64_t>(values.size()), median(values),
                  median_interval(values)};
}

std::optional<Estimate> estimate(const std::vector<RawValue>& raw) {
  std::vector<double> values;
  values.reserve(raw.size());
  for (const RawValue& value : raw) values.push_back(value.value);
  return estimate(values);
}

/// What is gathered for one subject at one length and summed up in its row.
struct Gathered {
  std::vector<double> prefill_tok_s;
  std::map<std::string, double> stage_total;
  double n_requests = 0;  // that the stage totals cover
};

void gather_values(const CellRecord& cell, Gathered& into, SpeedRow& row) {
  std::set<std::int64_t> staged_reps;
  const std::string task = cell.task.empty() ? "" : task_label(cell);
  for (const ValueRecord& value : cell.values) {
    if (value.metric == "stage_ns") {
      into.stage_total[value.stage] += value.value;
      staged_reps.insert(value.rep);
    } else if (value.metric == "ttft_ns") {
      row.raw_ttft_ns.push_back({task, value.rep, value.value});
    } else if (value.metric == "prefill_tok_s") {
      into.prefill_tok_s.push_back(value.value);
    } else if (value.metric == "tpot_ns") {
      row.raw_decode_ns.push_back({task, value.rep, value.value});
    } else if (value.metric == "itl_ns") {
      row.token_gaps_ns.push_back(value.value);
    } else if (value.metric == "device_peak_bytes") {
      row.peak_bytes = std::max(row.peak_bytes.value_or(0), value.value);
    }
  }
  into.n_requests += static_cast<double>(staged_reps.size());
}

/// Cells whose times stand for a length: speed cells where there are any, else answered prompts;
/// perplexity does other work, so it counts only where there is nothing else.
std::vector<std::size_t> timed_cells(const Analysis& analysis, std::size_t subject,
                                     std::int64_t length) {
  std::array<std::vector<std::size_t>, 3> ranked;
  for (const std::size_t i : analysis.cells) {
    const CellRecord& cell = analysis.results->cells[i];
    if (analysis.subject_of_cell[i] != subject || cell.context_len != length) continue;
    if (cell.kind == "profile" || (cell.values.empty() && cell.ledger.empty())) continue;
    ranked[cell.kind == "perf" ? 0 : is_perplexity(cell) ? 2 : 1].push_back(i);
  }
  for (std::vector<std::size_t>& cells : ranked) {
    if (!cells.empty()) return cells;
  }
  return {};
}

void gather_memory(const CellRecord& cell, SpeedRow& row) {
  const std::int64_t peak = ledger_peak_bytes(cell.ledger);
  if (peak == 0) return;
  row.peak_bytes = std::max(row.peak_bytes.value_or(0), static_cast<double>(peak));
  if (peak <= ledger_peak_bytes(row.ledger)) return;
  row.ledger.clear();
  std::map<std::string, std::int64_t> sums;
  std::string peak_phase;
  for (const LedgerRecord& record : cell.ledger) {
    if (record.category.starts_with("host_")) continue;
    std::int64_t& sum = sums[record.phase];
    sum += record.at_peak_bytes;
    if (sum == peak) peak_phase = record.phase;
  }
  for (const LedgerRecord& record : cell.ledger) {
    if (record.phase == peak_phase) row.ledger.push_back(record);
  }
}

void gather_routes(const CellRecord& cell, SpeedRow& row) {
  for (const RouteRecord& route : cell.routes) {
    const auto same = [&](const RouteRecord& other) {
      return other.phase == route.phase && other.path == route.path && other.kernel == route.kernel;
    };
    const auto known = std::find_if(row.routes.begin(), row.routes.end(), same);
    if (known == row.routes.end()) {
      row.routes.push_back(route);
      continue;
    }
    known->n_layers = std::max(known->n_layers, route.n_layers);
    known->n_calls += route.n_calls;
    known->blocks_read += route.blocks_read;
    known->blocks_visible += route.blocks_visible;
  }
}

}  // namespace

std::optional<Estimate> peak_estimate(const SpeedRow& row) {
  if (!row.peak_bytes) return std::nullopt;
  return Estimate{1, *row.peak_bytes, {*row.peak_bytes, *row.peak_bytes}};
}

void analyse_speed(Analysis& analysis) {
  for (std::size_t subject = 0; subject < analysis.subjects.size(); ++subject) {
    for (const std::int64_t length : analysis.lengths) {
      SpeedRow row;
      row.subject = subject;
      row.length = length;
      Gathered gathered;
      row.cells = timed_cells(analysis, subject, length);
      for (const std::size_t i : row.cells) {
        const CellRecord& cell = analysis.results->cells[i];
        gather_values(cell, gathered, row);
        gather_memory(cell, row);
        gather_routes(cell, row);
      }
      std::sort(row.token_gaps_ns.begin(), row.token_gaps_ns.end());
      row.ttft_ns = estimate(row.raw_ttft_ns);
      row.prefill_tok_s = estimate(gathered.prefill_tok_s);
      row.decode_ns = estimate(row.raw_decode_ns);
      for (const auto& [stage, total] : gathered.stage_total) {
        row.stage_ns[stage] = total / gathered.n_requests;
      }
      if (row.ttft_ns || row.peak_bytes || !row.stage_ns.empty()) {
        analysis.speed.push_back(std::move(row));
      }
    }
  }
}

}  // namespace sala
