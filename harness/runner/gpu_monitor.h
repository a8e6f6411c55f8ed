// Watches a GPU's sensors while requests run on it: energy, clocks, slowdowns, memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "engine/base/nvml.h"
#include "engine/request.h"
#include "harness/store/rows.h"

namespace sala {

/// What the sensors said from just before a request to just after it.
struct GpuWindow {
  std::vector<GpuReading> readings;  // at least one at each end
  std::optional<double> counter_j;   // by the driver's own counter
};

/// Reads the sensors twenty times a second, from a thread of its own, between start() and stop().
class GpuMonitor {
 public:
  explicit GpuMonitor(const GpuSensors& sensors) : sensors_(sensors) {}
  ~GpuMonitor() { stop(); }
  GpuMonitor(const GpuMonitor&) = delete;
  GpuMonitor& operator=(const GpuMonitor&) = delete;

  /// Drops a window that was not stopped, as when a request threw.
  void start();
  GpuWindow stop();

 private:
  void watch();

  GpuSensors sensors_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool is_stopping_ = false;
  std::optional<double> counter_at_start_;
  std::vector<GpuReading> readings_;
};

using MonitorTime = std::chrono::steady_clock::time_point;

/// Joules between two moments: the trapezoids under the power readings, each end read off the line
/// between its neighbours. Nothing when power was not read.
std::optional<double> joules_between(const std::vector<GpuReading>& readings, MonitorTime begin,
                                     MonitorTime end);

/// Energy of a request whole and by phase, a token, and by the driver's counter; nothing that was
/// not read. n_prompt: tokens of the prompt.
std::vector<ValueRow> make_energy_values(const GpuWindow& window, const Timing& timing,
                                         std::int64_t n_prompt, std::int64_t rep);

/// What is wrong with the numbers of a request, as sample and run flags: a slowdown, another
/// process on the GPU, two measures of its energy that disagree.
std::int64_t window_flags(const GpuWindow& window);

/// Clock of the multiprocessors under the request: the median of the readings after its start.
std::optional<double> window_sm_mhz(const GpuWindow& window);

/// Most memory that the driver counted.
std::optional<std::int64_t> window_peak_bytes(const GpuWindow& window);

/// The readings as rows of telemetry.
std::vector<TelemetryRow> make_telemetry(const GpuWindow& window);

}  // namespace sala
