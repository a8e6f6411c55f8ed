// Adds stage times under "<phase>.<stage>".
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/trace.h"

#include <string_view>

namespace sala {

namespace {

bool is_named(const StageTime& time, std::string_view phase, std::string_view stage) {
  const std::string_view name = time.name;
  return name.size() == phase.size() + 1 + stage.size() && name.substr(0, phase.size()) == phase &&
         name[phase.size()] == '.' && name.substr(phase.size() + 1) == stage;
}

}  // namespace

void Trace::add(const char* stage, std::int64_t ns, double flops) {
  for (StageTime& time : stages_) {
    if (is_named(time, phase_, stage)) {
      time.ns += ns;
      time.calls += 1;
      time.flops += flops;
      return;
    }
  }
  stages_.push_back({std::string(phase_) + "." + stage, ns, 1, flops});
}

}  // namespace sala
