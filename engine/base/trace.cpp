// Adds stage times under "<phase>.<layer kind>.<stage>".
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/trace.h"

#include <algorithm>
#include <utility>

#include "engine/base/error.h"

namespace sala {

void Trace::begin(const char* stage) {
  if (clock_ != nullptr) {
    clock_->begin(stage);
  } else {
    start_ = Clock::now();
  }
}

void Trace::end(const char* stage, Cost cost) {
  if (clock_ != nullptr) {
    clock_->end();
    pending_.push_back({row_of(stage), cost});
    return;
  }
  const auto elapsed = Clock::now() - start_;
  add(row_of(stage), std::chrono::duration_cast<std::chrono::nanoseconds>(elapsed).count(), cost);
}

std::size_t Trace::row_of(const char* stage) {
  const auto known = std::find_if(known_.begin(), known_.end(), [&](const Known& row) {
    return row.stage == stage && row.layer_kind == layer_kind_ && row.phase == phase_;
  });
  if (known != known_.end()) return known->row;

  // Equal names may lie at several addresses.
  std::string name = std::string(phase_) + ".";
  if (*layer_kind_ != '\0') name += std::string(layer_kind_) + ".";
  name += stage;
  const auto found = std::find_if(stages_.begin(), stages_.end(),
                                  [&](const StageTime& time) { return time.name == name; });
  const auto row = static_cast<std::size_t>(found - stages_.begin());
  if (found == stages_.end()) {
    stages_.push_back({std::move(name), 0, 0, 0, 0, layer_kind_});
  }
  known_.push_back({phase_, layer_kind_, stage, row});
  return row;
}

void Trace::add(std::size_t row, std::int64_t ns, Cost cost) {
  StageTime& stage = stages_[row];
  stage.ns += ns;
  stage.calls += 1;
  stage.flops += cost.flops;
  stage.bytes += cost.bytes;
}

void Trace::settle() {
  const std::vector<Pending> pending = std::exchange(pending_, {});
  if (pending.empty()) return;
  const std::vector<std::int64_t> times = clock_->take();
  SALA_CHECK(times.size() == pending.size(), "a clock times every stage once");
  for (std::size_t i = 0; i < pending.size(); ++i) add(pending[i].row, times[i], pending[i].cost);
}

void Trace::clear() {
  settle();
  stages_.clear();
  known_.clear();
}

const std::vector<StageTime>& Trace::stages() {
  settle();
  return stages_;
}

Cost Trace::total_cost() {
  Cost total;
  for (const StageTime& stage : stages()) {
    total.flops += stage.flops;
    total.bytes += stage.bytes;
  }
  return total;
}

double Trace::span_ns() {
  constexpr int kSpans = 1000;
  clear();
  double best = 0;
  for (int pass = 0; pass < 3; ++pass) {  // the first makes the marks
    const auto start = Clock::now();
    for (int i = 0; i < kSpans; ++i) const Span span(*this, "empty");
    settle();
    const double ns = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
    if (pass == 0 || ns < best) best = ns;
  }
  clear();
  return best / kSpans;
}

}  // namespace sala
