// Times of named stages, added up over a request.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace sala {

struct StageTime {
  std::string name;  // e.g. prefill.qkv
  std::int64_t ns = 0;
  std::int64_t calls = 0;
  double flops = 0;  // work declared by the stage; 0 when it is not matrix-shaped
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

/// Collects stage times. Stages do not nest, so their sum plus gaps is the wall time.
class Trace {
 public:
  /// clock: measures instead of the host's clock; must outlive the trace.
  explicit Trace(StageClock* clock = nullptr) : clock_(clock) {}

  /// Prefix of the names that follow: "prefill" or "decode".
  void set_phase(const char* phase) { phase_ = phase; }
  const char* phase() const { return phase_; }
  void clear();
  /// Waits for the stages that a device still works on and adds their times. Until then the clock
  /// keeps a mark for each.
  void settle();
  const std::vector<StageTime>& stages();  // settled

 private:
  friend class Span;
  using Clock = std::chrono::steady_clock;
  /// A stage that ended but whose time is known only to the clock.
  struct Pending {
    std::size_t row;
    double flops;
  };

  void begin(const char* stage);
  void end(const char* stage, double flops);
  std::size_t row_of(const char* stage);

  StageClock* clock_;
  const char* phase_ = "prefill";
  Clock::time_point start_;
  std::vector<StageTime> stages_;
  std::vector<Pending> pending_;
};

/// Times the enclosing scope as one call of `stage`.
class Span {
 public:
  Span(Trace& trace, const char* stage, double flops = 0)
      : trace_(trace), stage_(stage), flops_(flops) {
    trace_.begin(stage_);
  }
  ~Span() { trace_.end(stage_, flops_); }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  Trace& trace_;
  const char* stage_;
  double flops_;
};

}  // namespace sala
