// Adds stage times under "<phase>.<stage>".
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/trace.h"

#include <string_view>
#include <utility>

#include "engine/base/error.h"

namespace sala {

namespace {

bool is_named(const StageTime& time, std::string_view phase, std::string_view stage) {
  const std::string_view name = time.name;
  return name.size() == phase.size() + 1 + stage.size() && name.substr(0, phase.size()) == phase &&
         name[phase.size()] == '.' && name.substr(phase.size() + 1) == stage;
}

}  // namespace

void Trace::begin(const char* stage) {
  if (clock_ != nullptr) {
    clock_->begin(stage);
  } else {
    start_ = Clock::now();
  }
}

void Trace::end(const char* stage, double flops) {
  const std::size_t row = row_of(stage);
  if (clock_ != nullptr) {
    clock_->end();
    pending_.push_back({row, flops});
    return;
  }
  const auto elapsed = Clock::now() - start_;
  stages_[row].ns += std::chrono::duration_cast<std::chrono::nanoseconds>(elapsed).count();
  stages_[row].calls += 1;
  stages_[row].flops += flops;
}

std::size_t Trace::row_of(const char* stage) {
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    if (is_named(stages_[i], phase_, stage)) return i;
  }
  stages_.push_back({std::string(phase_) + "." + stage, 0, 0, 0});
  return stages_.size() - 1;
}

void Trace::settle() {
  const std::vector<Pending> pending = std::exchange(pending_, {});
  if (pending.empty()) return;
  const std::vector<std::int64_t> times = clock_->take();
  SALA_CHECK(times.size() == pending.size(), "a clock times every stage once");
  for (std::size_t i = 0; i < pending.size(); ++i) {
    StageTime& stage = stages_[pending[i].row];
    stage.ns += times[i];
    stage.calls += 1;
    stage.flops += pending[i].flops;
  }
}

void Trace::clear() {
  settle();
  stages_.clear();
}

const std::vector<StageTime>& Trace::stages() {
  settle();
  return stages_;
}

}  // namespace sala
