// Adds stage times under "<phase>.<layer kind>.<stage>".
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/trace.h"

#include <algorithm>
#include <utility>

#include "engine/base/error.h"

namespace sala {

RangeKind stage_kind(std::string_view stage) {
  using namespace std::string_view_literals;
  static constexpr std::pair<std::string_view, RangeKind> kKinds[] = {
      {"qkv"sv, RangeKind::gemm},         {"out_proj"sv, RangeKind::gemm},
      {"mlp_gate_up"sv, RangeKind::gemm}, {"mlp_down"sv, RangeKind::gemm},
      {"lm_head"sv, RangeKind::gemm},     {"append"sv, RangeKind::attention},
      {"attend"sv, RangeKind::attention}, {"score"sv, RangeKind::attention},
      {"select"sv, RangeKind::attention}, {"linear_scan"sv, RangeKind::linear}};
  for (const auto& [name, kind] : kKinds) {
    if (name == stage) return kind;
  }
  return RangeKind::other;
}

void Trace::begin(const char* stage) {
  row_ = row_of(stage);
  if (clock_ != nullptr) {
    clock_->begin(labels_[row_], layer_);
  } else {
    start_ = Clock::now();
  }
}

void Trace::end(Cost cost) {
  const Pending stage{row_, cost, layer_};
  if (clock_ != nullptr) {
    clock_->end();
    pending_.push_back(stage);
    return;
  }
  const auto ns = [](Clock::duration time) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
  };
  add(stage, {ns(start_.time_since_epoch()), ns(Clock::now() - start_)});
}

void Trace::open(const char* name, RangeKind kind, std::int64_t payload) {
  if (kind == RangeKind::layer) layer_ = static_cast<int>(payload);
  if (clock_ != nullptr) clock_->open(clock_->label(name, kind), payload);
  if (!keeps_timeline_) return;
  open_.push_back(timeline_.ranges.size());
  const std::size_t first = timeline_.stages.size() + pending_.size();
  timeline_.ranges.push_back({name, kind, payload, first, first});
}

void Trace::close() {
  layer_ = -1;  // nothing lies inside a layer but stages
  if (clock_ != nullptr) clock_->close();
  if (open_.empty()) return;
  timeline_.ranges[open_.back()].end = timeline_.stages.size() + pending_.size();
  open_.pop_back();
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
    if (clock_ != nullptr) labels_.push_back(clock_->label(name, stage_kind(stage)));
    stages_.push_back({std::move(name), 0, 0, 0, 0, layer_kind_});
  }
  known_.push_back({phase_, layer_kind_, stage, row});
  return row;
}

void Trace::add(const Pending& stage, StageInterval time) {
  StageTime& sum = stages_[stage.row];
  sum.ns += time.ns;
  sum.calls += 1;
  sum.flops += stage.cost.flops;
  sum.bytes += stage.cost.bytes;
  if (keeps_timeline_) timeline_.stages.push_back({stage.row, time, stage.layer});
}

void Trace::settle() {
  const std::vector<Pending> pending = std::exchange(pending_, {});
  if (pending.empty()) return;
  const std::vector<StageInterval> times = clock_->take();
  SALA_CHECK(times.size() == pending.size(), "a clock times every stage once");
  for (std::size_t i = 0; i < pending.size(); ++i) add(pending[i], times[i]);
}

void Trace::clear() {
  settle();
  stages_.clear();
  labels_.clear();
  known_.clear();
  timeline_ = {};
  open_.clear();
}

const std::vector<StageTime>& Trace::stages() {
  settle();
  return stages_;
}

const Timeline& Trace::timeline() {
  settle();
  return timeline_;
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
