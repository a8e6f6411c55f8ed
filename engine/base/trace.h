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

/// Collects stage times. Stages do not nest, so their sum plus gaps is the wall time.
class Trace {
 public:
  /// Prefix of the names that follow: "prefill" or "decode".
  void set_phase(const char* phase) { phase_ = phase; }
  const char* phase() const { return phase_; }
  void add(const char* stage, std::int64_t ns, double flops);
  void clear() { stages_.clear(); }
  const std::vector<StageTime>& stages() const { return stages_; }

 private:
  const char* phase_ = "prefill";
  std::vector<StageTime> stages_;
};

/// Times the enclosing scope as one call of `stage`.
class Span {
 public:
  Span(Trace& trace, const char* stage, double flops = 0)
      : trace_(trace), stage_(stage), flops_(flops), start_(std::chrono::steady_clock::now()) {}
  ~Span() {
    const auto elapsed = std::chrono::steady_clock::now() - start_;
    trace_.add(stage_, std::chrono::duration_cast<std::chrono::nanoseconds>(elapsed).count(),
               flops_);
  }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  Trace& trace_;
  const char* stage_;
  double flops_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace sala
