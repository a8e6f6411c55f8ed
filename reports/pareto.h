// Who is better than whom in accuracy, speed and memory together, length by length.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "reports/analysis.h"

namespace sala {

/// A subject that has both a score and a time at a length.
struct ParetoPoint {
  std::size_t subject = 0;
  Estimate score;  // mean over the tasks of the length; n: prompts
  Estimate ttft_ns;
  std::optional<Estimate> decode_ns;
  std::optional<double> peak_bytes;
  std::string basis;  // work and surroundings of the times: they compare only where it is equal
};

enum class Standing : std::uint8_t { first, second, equal, open };

/// Which of two points is better on one axis; equal: the same bytes; open: the intervals meet.
struct ParetoAxis {
  const char* name = "";
  Standing better = Standing::open;
};

enum class ParetoOutcome : std::uint8_t {
  first_dominates,   // better beyond the intervals on every axis that both have, or of equal bytes
  second_dominates,  //
  trade_off,         // each is better on some axis
  undecided,         // some axis is open
  not_compared,      // times of other work or from other surroundings
};

struct ParetoPair {
  std::size_t first = 0;  // index into the points
  std::size_t second = 0;
  std::vector<ParetoAxis> axes{};
  ParetoOutcome outcome = ParetoOutcome::undecided;
};

struct ParetoLength {
  std::int64_t length = 0;
  std::size_t n_tasks = 0;  // that every point has
  std::vector<ParetoPoint> points;
  std::vector<ParetoPair> pairs;
};

/// Every length with a point; by length. The score of a point covers the tasks that all points of
/// the length have. Its interval is the bootstrap's, widened to that of as many 0/1 scores as there
/// are clusters: scores that do not vary leave the bootstrap without any width.
std::vector<ParetoLength> find_pareto(const Analysis& analysis);

}  // namespace sala
