// What a gate tolerates, and how the verdicts of its items become one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "harness/compare/decision.h"

namespace sala {

enum class Tier : std::uint8_t { critical, supporting, advisory };
const char* tier_name(Tier tier);

/// One kind of number and how much worse it may get.
struct PolicyItem {
  std::string metric;  // a stored metric, or accuracy, task_accuracy, category_bytes
  std::string stage;   // of stage_ns: a name, or the start of one with * behind
  Tier tier = Tier::critical;
  double tolerance = 0;    // relative; for accuracies the tolerated drop
  double absolute = 0;     // changes up to this, in the metric's unit, never count
  double least_share = 0;  // stages that take a smaller part of their phase are left out
};

struct Policy {
  double alpha = 0.05;  // one-sided, over all critical items together
  std::vector<PolicyItem> items;
  std::vector<int> looks{6, 10, 16};  // pairs of processes at which a decision is tried
  std::int64_t long_from = 524288;    // tokens; such cells are too dear for many pairs
  std::vector<int> long_looks{3, 6};
  double max_age_days = 14;  // of a stored baseline, and of a noise floor

  /// As canonical JSON, for the record.
  std::string json() const;
};

/// Reads a TOML file. Throws Error naming the key for anything unknown, missing or out of range.
Policy load_policy(const std::filesystem::path& path);

/// One judged number.
struct GateItem {
  std::string task{};
  std::int64_t length = 0;
  std::string side{};
  std::string compare_key{};
  std::string metric{};
  std::string stage{};
  Tier tier = Tier::critical;
  double baseline = 0;
  double candidate = 0;
  SpeedRule rule{};     // its tolerance holds for every kind of item
  PairBlocks blocks{};  // of times
  Decision decision{};
};

enum class GateVerdict : std::uint8_t {
  pass,
  warn,
  inconclusive,
  incomplete,
  block,
  not_comparable
};
const char* verdict_name(GateVerdict verdict);
/// 0 pass, 1 block, 2 warn or inconclusive, 3 incomplete, 4 not comparable.
int exit_code(GateVerdict verdict);

/// What one item alone stands for. strict: supporting items count like critical ones, and what is
/// worse within its tolerance blocks too.
GateVerdict consequence(const GateItem& item, bool strict);

/// Turns a worse that many looks at once explain into ambiguous: Holm's adjustment over the
/// critical items, Benjamini and Hochberg's over the supporting ones.
void adjust_for_multiplicity(std::vector<GateItem>& items, double alpha);

/// The gravest consequence; incomplete when there are no items.
GateVerdict joint_verdict(const std::vector<GateItem>& items, bool strict);

}  // namespace sala
