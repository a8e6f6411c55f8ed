// The rows and fields of the exports, in one table for every format.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string_view>

#include "harness/store/reader.h"

namespace sala {

/// One sample of a cell; a cell that has none yields one row, so that no failure is a gap.
struct SampleRef {
  const Results& results;
  const CellRecord& cell;
  const AnswerRecord* answer = nullptr;         // none for speed samples and failures
  std::int64_t index = -1;                      // sample index, or -1 for a failure
  bool flagged = false;                         // its times say nothing
  std::map<std::string_view, double> totals{};  // by metric, of the whole request
};

struct SampleField {
  std::string_view name;
  nlohmann::json (*value)(const SampleRef& sample);  // null when not measured
};

std::span<const SampleField> sample_fields();

void for_each_sample(const Results& results, const std::function<void(const SampleRef&)>& visit);

}  // namespace sala
