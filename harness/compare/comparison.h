// Two result sets side by side: every number with its interval, every set of answers with its test.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "harness/compare/estimate.h"
#include "harness/compare/pairing.h"

namespace sala {

/// A time or a size on both sides.
struct NumberRow {
  std::string metric;
  double first = 0;  // medians over repetitions or prompts
  double second = 0;
  double change = 0;  // second relative to first
  /// 95 %, over repetitions or prompts taken in pairs; none with fewer than two. It says nothing of
  /// how processes differ.
  std::optional<Interval> interval{};
};

/// One cell on both sides.
struct ComparisonRow {
  std::string task;
  std::int64_t length = 0;
  std::string first_side;  // model or baseline
  std::string second_side;
  std::string first_model;
  std::string second_model;
  std::string failure;  // why a side has no result; empty when both have one
  std::vector<NumberRow> numbers{};
  double first_accuracy = 0;  // with `paired` alone
  double second_accuracy = 0;
  std::optional<PairedDifference> paired{};  // second minus first, on the prompts of both
  std::int64_t one_sided = 0;                // prompts that only one side answered
};

struct Comparison {
  std::vector<FieldDifference> differences;   // not empty: nothing else is filled
  std::vector<FieldDifference> surroundings;  // not empty: times are not comparable
  std::vector<ComparisonRow> rows;
  std::vector<MissingCell> missing;
  std::optional<PairedDifference> overall;  // all answers together
};

Comparison compare_subjects(const ComparedSide& first, const ComparedSide& second);

}  // namespace sala
