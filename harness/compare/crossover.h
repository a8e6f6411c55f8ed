// The length from which one subject never needs more than another, and how sure that is.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "harness/compare/statistics.h"

namespace sala {

/// Raw costs of both subjects at one length. Entries of equal index are a pair: one prompt, or one
/// repetition, on either side.
struct CrossoverPoint {
  std::int64_t length = 0;
  std::vector<double> first;
  std::vector<double> second;
};

enum class CrossoverKind {
  at,          // the first needs no more from a length between two measured ones on
  always,      // at every measured length
  never,       // not at the longest that both measured
  infeasible,  // the same, but beyond it the second runs out of memory: no crossover either
};

struct CrossoverLength {
  CrossoverKind kind = CrossoverKind::never;
  double tokens = 0;  // at: where; infeasible: the length from which the second cannot run
  /// 95 % interval of the crossing: 0 where draws have none because the first never needs more, and
  /// infinity where they have none because it does at the longest length.
  Interval interval;
};

/// With r(n) = ln(median first / median second), linear in log2 n between lengths: the last change
/// from r > 0 to r <= 0 after which r stays there. Interval: percentiles over draws that resample
/// the pairs within each length. points: by ascending length, each with a pair or more of positive
/// values; there may be none only with `infeasible_from`, the shortest length at which the first
/// ran and the second ran out of memory.
CrossoverLength crossover_length(std::span<const CrossoverPoint> points,
                                 std::optional<std::int64_t> infeasible_from = std::nullopt,
                                 int draws = 2000, std::uint32_t seed = 42);

}  // namespace sala
