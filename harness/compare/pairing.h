// Puts the cells of two result sets side by side and names what forbids comparing them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "harness/store/reader.h"

namespace sala {

/// One side of a comparison.
struct ComparedSide {
  Results results;
  std::string side;      // only this side of the sweeps: model or baseline; empty: both
  bool is_whole = true;  // whole sweeps, so that every planned cell is due
};

/// Reads what `text` names: a run, a sweep or a commit, with ":model" or ":baseline" behind for one
/// side of it; or a side alone, when the file holds one sweep. Throws Error when there is no such
/// thing.
ComparedSide read_subject(const std::filesystem::path& database, const std::string& text);

/// A field that has to be equal on both sides and is not.
struct FieldDifference {
  std::string field;
  std::string baseline;
  std::string candidate;
};

/// One cell on both sides.
struct CellPair {
  const CellRecord* baseline;
  const CellRecord* candidate;
};

/// A planned cell without a result on one side or on both.
struct MissingCell {
  std::string task;
  std::int64_t length = 0;
  std::string side;
  std::string reason;
};

struct Pairing {
  std::vector<CellPair> cells;
  std::vector<MissingCell> missing;
  /// What makes the work unequal: nothing may be concluded at all.
  std::vector<FieldDifference> differences;
  /// What makes the surroundings unequal: times and memory may not be compared.
  std::vector<FieldDifference> surroundings;
};

/// The subjects have to outlive the pairing.
Pairing pair_cells(const ComparedSide& baseline, const ComparedSide& candidate);

/// Task of an accuracy cell; for a speed cell the name of its prompt or of its benchmark.
std::string work_name(const CellRecord& cell);

/// Whether a speed cell is a benchmark of one kernel.
bool is_kernel(const CellRecord& cell);

/// Role of a cell in its sweep: model or baseline.
std::string side_of(const CellRecord& cell);

/// What surrounds a run, without the binary: equal for two runs whose times may be compared.
std::string surroundings_of(const EnvironmentRecord& environment);

/// Whether the cell has a final result; memory that did not suffice is one.
bool is_answered(const CellRecord& cell);

/// "field: a against b; ...", for messages.
std::string differences_text(const std::vector<FieldDifference>& differences);

}  // namespace sala
