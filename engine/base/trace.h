// Times of named stages, added up over a request.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/cost.h"

namespace sala {

struct StageTime {
  std::string name;  // phase, kind of layer where the stage belongs to one, stage:
                     // prefill.lightning.qkv, decode.lm_head
  std::int64_t ns = 0;
  std::int64_t calls = 0;
  double flops = 0;  // declared by the stage, all calls together
  double bytes = 0;
  std::string layer_kind{};
};

/// What a range of a timeline is about.
enum class RangeKind : std::uint8_t { phase, layer, attention, linear, gemm, other };
constexpr const char* kRangeKindNames[] = {"phase",  "layer", "attention",
                                           "linear", "gemm",  "other"};

/// Kind of a stage by its name without phase and layer kind.
RangeKind stage_kind(std::string_view stage);

/// When a stage ran, on an axis of its clock.
struct StageInterval {
  std::int64_t start_ns = 0;
  std::int64_t ns = 0;
};

/// Every stage of a request as it ran, and the ranges that hold them.
struct Timeline {
  struct Stage {
    std::size_t row;  // in stages()
    StageInterval time;
    int layer;  // -1 outside of layers
  };
  struct Range {
    std::string name;
    RangeKind kind;
    std::int64_t payload;
    std::size_t first, end;  // its stages
  };
  std::vector<Stage> stages;
  std::vector<Range> ranges;  // a range comes before those inside it
};

/// Measures stages where the work runs later than it is given, on a device, and names them for a
/// profiler.
class StageClock {
 public:
  virtual ~StageClock() = default;
  /// Stands for a name; the same for equal names.
  virtual std::size_t label(const std::string& name, RangeKind kind) = 0;
  /// Begins and ends a stage at the present point of the device's work. Stages do not nest.
  /// layer: -1 outside of layers.
  virtual void begin(std::size_t label, int layer) = 0;
  virtual void end() = 0;
  /// Begins and ends a range that holds stages and ranges; it takes no time of its own.
  virtual void open(std::size_t label, std::int64_t payload) = 0;
  virtual void close() = 0;
  /// Waits for the stages that ended since the last call and returns their times, in order.
  virtual std::vector<StageInterval> take() = 0;
};

/// Collects stage times. Stages do not nest, so their sum plus gaps is the wall time; phases and
/// layers are ranges around stages and no part of that sum. Names are string literals, or live as
/// long as the trace.
class Trace {
 public:
  /// clock: measures instead of the host's clock; must outlive the trace.
  explicit Trace(StageClock* clock = nullptr) : clock_(clock) {}

  /// While off, stages take no time and leave no trace.
  void set_on(bool on) { is_on_ = on; }
  bool is_on() const { return is_on_; }
  /// Prefix of the names that follow: "prefill" or "decode".
  void set_phase(const char* phase) { phase_ = phase; }
  const char* phase() const { return phase_; }
  /// Kind of the layer whose stages follow; "" outside of layers.
  void set_layer_kind(const char* kind) { layer_kind_ = kind; }
  /// While on, timeline() has every stage; else only their sums are kept.
  void set_keeps_timeline(bool keeps) { keeps_timeline_ = keeps; }
  void clear();
  /// Waits for the stages that a device still works on and adds their times. Until then the clock
  /// keeps a mark for each.
  void settle();
  const std::vector<StageTime>& stages();  // settled
  const Timeline& timeline();              // settled
  /// Cost of everything since clear(), declared by the stages.
  Cost total_cost();

  /// What measuring one stage takes of the device's or the host's time, whichever is more, in ns:
  /// the mean over many empty ones. Only between requests.
  double span_ns();

 private:
  friend class Span;
  friend class RangeScope;
  using Clock = std::chrono::steady_clock;
  /// A stage that ended but whose time is known only to the clock.
  struct Pending {
    std::size_t row;
    Cost cost;
    int layer;
  };
  /// Where a stage was found before, by the addresses of its names.
  struct Known {
    const char* phase;
    const char* layer_kind;
    const char* stage;
    std::size_t row;
  };

  void begin(const char* stage);
  void end(Cost cost);
  void open(const char* name, RangeKind kind, std::int64_t payload);
  void close();
  std::size_t row_of(const char* stage);
  void add(const Pending& stage, StageInterval time);

  StageClock* clock_;
  bool is_on_ = true;
  const char* phase_ = "prefill";
  const char* layer_kind_ = "";
  int layer_ = -1;
  std::size_t row_ = 0;  // of the stage that runs
  Clock::time_point start_;
  std::vector<StageTime> stages_;
  std::vector<std::size_t> labels_;  // of stages_, where a clock measures
  std::vector<Known> known_;
  std::vector<Pending> pending_;
  bool keeps_timeline_ = false;
  Timeline timeline_;
  std::vector<std::size_t> open_;  // ranges of the timeline that have not ended, outermost first
};

/// Times the enclosing scope as one call of `stage`, which is to cost at least so much.
class Span {
 public:
  Span(Trace& trace, const char* stage, Cost cost = {}) : trace_(trace), cost_(cost) {
    if (trace_.is_on()) trace_.begin(stage);
  }
  ~Span() {
    if (trace_.is_on()) trace_.end(cost_);
  }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  Trace& trace_;
  Cost cost_;
};

/// The stages of the enclosing scope form a range of the timeline.
class RangeScope {
 public:
  /// payload: index of a layer, tokens in context of a phase.
  RangeScope(Trace& trace, const char* name, RangeKind kind, std::int64_t payload) : trace_(trace) {
    if (trace_.is_on()) trace_.open(name, kind, payload);
  }
  ~RangeScope() {
    if (trace_.is_on()) trace_.close();
  }
  RangeScope(const RangeScope&) = delete;
  RangeScope& operator=(const RangeScope&) = delete;

 private:
  Trace& trace_;
};

/// Stages of the enclosing scope belong to layers of one kind.
class LayerKindScope {
 public:
  LayerKindScope(Trace& trace, const char* kind) : trace_(trace) { trace_.set_layer_kind(kind); }
  ~LayerKindScope() { trace_.set_layer_kind(""); }
  LayerKindScope(const LayerKindScope&) = delete;
  LayerKindScope& operator=(const LayerKindScope&) = delete;

 private:
  Trace& trace_;
};

}  // namespace sala
