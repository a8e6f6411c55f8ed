// What a sweep found, in one table: for the terminal and as JSON.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "harness/compare/estimate.h"
#include "harness/store/reader.h"

namespace sala {

/// One task at one length on one side.
struct SummaryRow {
  std::string task;  // "speed" for perf cells
  std::int64_t length = 0;
  std::string side;  // model or baseline
  std::string model;
  std::string status;
  std::string reason;    // of a status other than ok
  std::int64_t n = 0;    // answers or repetitions
  double accuracy = -1;  // mean score; below 0: none
  Interval interval{};   // 95 %, of the accuracy
  // Medians over samples; below 0: none.
  double ttft_s = -1;
  double prefill_tok_s = -1;
  double decode_ms_per_token = -1;
  double peak_bytes = -1;
  double prefill_j_tok = -1;
  double decode_j_tok = -1;
};

/// One row a cell, in the order of the plan.
std::vector<SummaryRow> summarize(const Results& results);

/// The model against the baseline on the prompts that both answered; nothing when there are none.
std::optional<PairedDifference> summarize_pair(const Results& results);

std::string summary_table(const std::vector<SummaryRow>& rows,
                          const std::optional<PairedDifference>& pair);
/// {"sweep","db","pair","cells":[...]}; what was not measured is null.
std::string summary_json(const std::vector<SummaryRow>& rows,
                         const std::optional<PairedDifference>& pair, const std::string& sweep_uid,
                         const std::string& database);

}  // namespace sala
