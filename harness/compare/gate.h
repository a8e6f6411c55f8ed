// A gate's items: which numbers are judged, where their values come from, when enough were taken.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "harness/compare/pairing.h"
#include "harness/compare/policy.h"

namespace sala {

/// Everything that a gate found.
struct GateReport {
  GateVerdict verdict = GateVerdict::incomplete;
  std::string baseline;  // what was compared, for people
  std::string candidate;
  std::string reason;  // why there is no full verdict; empty when there is one
  std::vector<FieldDifference> differences;  // that forbid the comparison
  std::vector<GateItem> items;
  std::string uid;     // of a stored gate
  std::string folder;  // databases of its processes
};

/// The median over repetitions of a number without a position; nothing when it was not measured.
std::optional<double> run_value(const CellRecord& cell, const std::string& metric,
                                const std::string& stage);

/// Items that one result a side settles: cells that are missing or failed, memory, accuracy.
std::vector<GateItem> settled_items(const Pairing& pairing, const Policy& policy);

/// The noise floor of an item, if one was measured.
using FloorLookup = std::function<std::optional<NoiseFloor>(const GateItem& item)>;

/// The times of the speed cells that both sides answered, without values yet.
std::vector<GateItem> speed_items(const Pairing& pairing, const Policy& policy,
                                  const FloorLookup& floor);

enum class PairBlock : std::uint8_t { first, confirmation };

/// Appends the values of one process a side to the items; when one is missing, appends nothing and
/// says which.
std::optional<std::string> append_pair(std::vector<GateItem>& items, const Pairing& pairing,
                                       PairBlock block);

/// Takes pairs until every item is decided. take_pair appends one pair to the block of all items,
/// or says why it cannot; what is undecided then is missing. Only critical items, and supporting
/// ones when strict, call for further looks; every suspicion calls for its confirmation.
void decide_all(std::vector<GateItem>& items, bool strict,
                const std::function<std::optional<std::string>(PairBlock)>& take_pair);

/// A gate over two stored results, one process a side.
GateReport gate_stored(const ComparedSide& baseline, const ComparedSide& candidate,
                       const Policy& policy, bool strict, const FloorLookup& floor);

/// Answers of two cells to the same prompts.
struct PairedScores {
  ClusteredScores baseline;
  std::vector<double> candidate;
  bool identical = true;       // every answer is the same text
  std::int64_t one_sided = 0;  // prompts that only one side answered
};
void append_scores(const CellPair& pair, PairedScores& scores);

}  // namespace sala
