// The decision for one number of a gate: is the candidate worse, and is that beyond tolerance?
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "harness/compare/resampling.h"
#include "harness/compare/statistics.h"

namespace sala {

enum class ItemVerdict : std::uint8_t { same, better, worse, ambiguous, missing, invalid };
const char* verdict_name(ItemVerdict verdict);

/// What was found for one number. Changes are relative to the baseline and worse when positive; for
/// accuracy they are the share of prompts lost.
struct Decision {
  ItemVerdict verdict = ItemVerdict::missing;
  std::string reason{};
  std::int64_t n = 0;  // pairs of processes, or prompts
  double change = 0;
  std::optional<Interval> interval{};  // each end is a one-sided 95 % bound
  std::optional<double> p{};           // one-sided p of "not worse"
  std::optional<double> detectable{};  // smallest true change found with 80 % power
  bool beyond_tolerance = false;
};

/// One value a process, of a baseline process and the candidate process beside it.
struct ValuePair {
  double baseline = 0;
  double candidate = 0;
};

/// Spread of ln(second / first) between processes of one and the same binary.
struct NoiseFloor {
  double sd = 0;
  std::int64_t n_pairs = 0;
};

/// ln(candidate / baseline) of every pair.
std::vector<double> log_ratios(const std::vector<ValuePair>& pairs);

/// A block of pairs, and a fresh one that confirms what the first found.
struct PairBlocks {
  std::vector<ValuePair> first;
  std::vector<ValuePair> confirmation;
};

/// How a time is judged.
struct SpeedRule {
  double tolerance = 0;  // relative
  double absolute = 0;   // changes up to this, in the metric's unit, never count
  double alpha = 0.05;   // one-sided
  std::vector<int> looks{6, 10, 16};
  /// The floor's deviation stands for that of the block, which has too few pairs for its own.
  bool pooled = false;
  /// Without a confirmation block the only block has to pass at alpha squared, the level that two
  /// blocks reach together.
  bool confirmable = true;
  std::optional<NoiseFloor> floor;  // without one nothing is called worse
};

/// Either a decision, or how many pairs of each block the next look needs.
struct SpeedProgress {
  std::optional<Decision> decision;
  std::size_t first = 0;
  std::size_t confirmation = 0;
};

/// Looks at the pairs in turn: worse when the block and its confirmation both say so, not worse
/// when the upper bound is below the tolerance (or the noise, if that is larger), else undecided.
/// All values are positive.
SpeedProgress decide_speed(const PairBlocks& blocks, const SpeedRule& rule);

/// Bytes, which do not vary: worse when they grow by more than both limits.
Decision decide_memory(const ValuePair& bytes, double relative, double absolute);

/// Scores of the same prompts on both sides, with the cluster of each; `identical` when every
/// answer is the same text. Worse when a one-sided paired test says so, the same when the bound of
/// the drop is below `max_drop` or nothing changed at all.
Decision decide_accuracy(const ClusteredScores& baseline, const std::vector<double>& candidate,
                         bool identical, double max_drop, double alpha);

}  // namespace sala
