// How near each stage of a request came to what its device can do.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "harness/store/reader.h"

namespace sala {

/// One stage of a cell, mean over its requests.
struct StageUse {
  std::string name;  // prefill.lightning.qkv
  double ns = 0;
  double calls = 0;
  double flops = 0;
  double bytes = 0;
  std::string bound;  // memory, compute or launch: what it could not be faster than
  /// The time that the bound takes, over the stage's own: above 1 where the caches help.
  std::optional<double> fraction;
};

/// The stages of a phase ("prefill", "decode"), longest first. Without ceilings none has a bound.
std::vector<StageUse> stage_uses(const CellRecord& cell, const std::string& phase);

/// Mean time of a request between the stages of a phase; nothing when it was not stored.
std::optional<double> stage_gap_ns(const CellRecord& cell, const std::string& phase);

/// Prompt tokens a second of every chunk of the prefill, mean over requests, by the tokens in
/// context at its end.
struct ChunkRate {
  std::int64_t position = 0;
  double tokens_per_s = 0;
};
std::vector<ChunkRate> chunk_rates(const CellRecord& cell);

/// Stages of both phases with their share of the ceilings, for a terminal; empty when the cell has
/// no stages or no ceilings.
std::string stage_table(const CellRecord& cell);

}  // namespace sala
