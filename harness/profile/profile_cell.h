// A profiled request as a cell of a sweep of its own.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "engine/engine.h"
#include "harness/store/writer.h"

namespace sala {

/// One request of `sala profile`.
struct ProfiledRequest {
  std::int64_t length = 0;  // tokens of the prompt
  std::int64_t steps = 0;   // after the first output
  bool cold = false;        // without a rehearsal
  std::string profiler;     // that it ran under: nsys, ncu or empty
  Output output;
};

/// Stores its times, stages, memory and route as a run of kind profile, which no comparison, gate
/// or table of speeds looks at. The writer then knows its sweep, of this one run. Throws Error when
/// the database cannot take it.
void store_profile(const ProfiledRequest& profiled, const Engine& engine,
                   const EngineOptions& options, ResultWriter& writer);

}  // namespace sala
