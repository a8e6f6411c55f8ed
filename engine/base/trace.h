// Times of named stages, added up over a request.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
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

/// Measures stages where the work runs later than it is given: on a device.
class StageClock {
 public:
  virtual ~StageClock() = default;
  /// Begins and ends a stage at the present point of the device's work. Stages do not nest.
  virtual void begin(const char* stage) = 0;
  virtual void end() = 0;
  /// Waits for the stages that ended since the last call and returns their times in ns, in order.
  virtual std::vector<std::int64_t> take() = 0;
};

/// Collects stage times. Stages do not nest, so their sum plus gaps is the wall time. Names are
/// string literals, or live as long as the trace.
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
  void clear();
  /// Waits for the stages that a device still works on and adds their times. Until then the clock
  /// keeps a mark for each.
  void settle();
  const std::vector<StageTime>& stages();  // settled
  /// Cost of everything since clear(), declared by the stages.
  Cost total_cost();

  /// What measuring one stage takes of the device's or the host's time, whichever is more, in ns:
  /// the mean over many empty ones. Only between requests.
  double span_ns();

 private:
  friend class Span;
  using Clock = std::chrono::steady_clock;
  /// A stage that ended but whose time is known only to the clock.
  struct Pending {
    std::size_t row;
    Cost cost;
  };
  /// Where a stage was found before, by the addresses of its names.
  struct Known {
    const char* phase;
    const char* layer_kind;
    const char* stage;
    std::size_t row;
  };

  void begin(const char* stage);
  void end(const char* stage, Cost cost);
  std::size_t row_of(const char* stage);
  void add(std::size_t row, std::int64_t ns, Cost cost);

  StageClock* clock_;
  bool is_on_ = true;
  const char* phase_ = "prefill";
  const char* layer_kind_ = "";
  Clock::time_point start_;
  std::vector<StageTime> stages_;
  std::vector<Known> known_;
  std::vector<Pending> pending_;
};

/// Times the enclosing scope as one call of `stage`, which is to cost at least so much.
class Span {
 public:
  Span(Trace& trace, const char* stage, Cost cost = {})
      : trace_(trace), stage_(stage), cost_(cost) {
    if (trace_.is_on()) trace_.begin(stage_);
  }
  ~Span() {
    if (trace_.is_on()) trace_.end(stage_, cost_);
  }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  Trace& trace_;
  const char* stage_;
  Cost cost_;
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
