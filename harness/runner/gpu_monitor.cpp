// Power of a moment is a sample, so energy is an integral over samples; the counter checks it.
// SPDX-License-Identifier: Apache-2.0
#include "harness/runner/gpu_monitor.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace sala {
namespace {

constexpr std::chrono::milliseconds kPeriod{50};
/// The counter moves in steps of about a tenth of a second: shorter windows are not held to it.
constexpr double kShortestChecked = 2;  // seconds
constexpr double kMostDisagreement = 0.1;
constexpr std::size_t kFirstInside = 1;  // the reading before it speaks of what was there before

double seconds_between(MonitorTime begin, MonitorTime end) {
  return std::chrono::duration<double>(end - begin).count();
}

/// Power at a moment, on the line between the readings around it; that of the nearest one outside.
double power_at(const std::vector<GpuReading>& readings, MonitorTime time) {
  const auto after = std::find_if(readings.begin(), readings.end(),
                                  [&](const GpuReading& r) { return r.time >= time; });
  if (after == readings.begin()) return *after->power_w;
  if (after == readings.end()) return *readings.back().power_w;
  const GpuReading& before = *std::prev(after);
  const double share =
      seconds_between(before.time, time) / seconds_between(before.time, after->time);
  return std::lerp(*before.power_w, *after->power_w, share);
}

}  // namespace

void GpuMonitor::start() {
  stop();
  is_stopping_ = false;
  counter_at_start_ = sensors_.energy_j();
  readings_.push_back(sensors_.read());
  thread_ = std::thread([this] { watch(); });
}

GpuWindow GpuMonitor::stop() {
  if (!thread_.joinable()) return {};
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  stopped_.notify_one();
  thread_.join();
  GpuWindow window{.readings = std::exchange(readings_, {}), .counter_j = std::nullopt};
  window.readings.push_back(sensors_.read());
  const auto counter = sensors_.energy_j();
  if (counter && counter_at_start_) window.counter_j = *counter - *counter_at_start_;
  return window;
}

void GpuMonitor::watch() {
  std::unique_lock lock(mutex_);
  while (!stopped_.wait_for(lock, kPeriod, [this] { return is_stopping_; })) {
    readings_.push_back(sensors_.read());
  }
}

std::optional<double> joules_between(const std::vector<GpuReading>& readings, MonitorTime begin,
                                     MonitorTime end) {
  std::vector<GpuReading> with_power;
  std::copy_if(readings.begin(), readings.end(), std::back_inserter(with_power),
               [](const GpuReading& reading) { return reading.power_w.has_value(); });
  if (with_power.empty()) return std::nullopt;
  double joules = 0;
  MonitorTime time = begin;
  double power = power_at(with_power, begin);
  const auto advance = [&](MonitorTime to, double power_there) {
    joules += seconds_between(time, to) * (power + power_there) / 2;
    time = to;
    power = power_there;
  };
  for (const GpuReading& reading : with_power) {
    if (reading.time > begin && reading.time < end) advance(reading.time, *reading.power_w);
  }
  advance(end, power_at(with_power, end));
  return joules;
}

std::vector<ValueRow> make_energy_values(const GpuWindow& window, const Timing& timing,
                                         std::int64_t n_prompt, std::int64_t rep) {
  std::vector<ValueRow> values;
  const auto add = [&](const char* metric, const char* stage, double value) {
    values.push_back({.metric = metric, .stage = stage, .rep = rep, .value = value});
  };
  const auto energy = [&](const char* stage, std::int64_t from_ns, std::int64_t to_ns) {
    const auto joules =
        joules_between(window.readings, timing.start + std::chrono::nanoseconds(from_ns),
                       timing.start + std::chrono::nanoseconds(to_ns));
    if (joules) add("energy_j", stage, *joules);
    return joules;
  };
  energy("total", 0, timing.total_ns);
  if (const auto prefill = energy("prefill", 0, timing.prefill_ns)) {
    add("prefill_j_tok", "total", *prefill / static_cast<double>(n_prompt));
  }
  if (!timing.itl_ns.empty()) {
    if (const auto decode = energy("decode", timing.ttft_ns, timing.total_ns)) {
      add("decode_j_tok", "total", *decode / static_cast<double>(timing.itl_ns.size()));
    }
  }
  if (window.counter_j) add("energy_counter_j", "total", *window.counter_j);
  return values;
}

std::int64_t window_flags(const GpuWindow& window) {
  std::int64_t flags = 0;
  for (std::size_t i = kFirstInside; i < window.readings.size(); ++i) {
    const GpuReading& reading = window.readings[i];
    const std::uint64_t reasons = reading.slowdown_reasons.value_or(0);
    if ((reasons & kThrottled) != 0) flags |= kThrottledFlag;
    if ((reasons & kPowerCapped) != 0) flags |= kPowerCappedFlag;
    if (reading.n_processes > 1) flags |= kForeignProcessFlag;
  }
  if (window.readings.empty() || !window.counter_j) return flags;
  const MonitorTime begin = window.readings.front().time;
  const MonitorTime end = window.readings.back().time;
  const auto joules = joules_between(window.readings, begin, end);
  if (joules && seconds_between(begin, end) >= kShortestChecked &&
      std::abs(*joules - *window.counter_j) > kMostDisagreement * *window.counter_j) {
    flags |= kEnergyDisagreesFlag;
  }
  return flags;
}

std::optional<double> window_sm_mhz(const GpuWindow& window) {
  std::vector<double> clocks;
  for (std::size_t i = kFirstInside; i < window.readings.size(); ++i) {
    if (window.readings[i].sm_mhz) clocks.push_back(*window.readings[i].sm_mhz);
  }
  if (clocks.empty()) return std::nullopt;
  const auto middle = clocks.begin() + static_cast<std::ptrdiff_t>(clocks.size() / 2);
  std::nth_element(clocks.begin(), middle, clocks.end());
  return *middle;
}

std::optional<std::int64_t> window_peak_bytes(const GpuWindow& window) {
  std::optional<std::int64_t> peak;
  for (const GpuReading& reading : window.readings) peak = std::max(peak, reading.used_bytes);
  return peak;
}

std::vector<TelemetryRow> make_telemetry(const GpuWindow& window) {
  // The readings' clock is steady; the database's is the calendar's.
  const auto steady_now = std::chrono::steady_clock::now();
  const auto calendar_now = std::chrono::system_clock::now();
  std::vector<TelemetryRow> rows;
  rows.reserve(window.readings.size());
  for (const GpuReading& reading : window.readings) {
    const auto age =
        std::chrono::duration_cast<std::chrono::microseconds>(steady_now - reading.time);
    const auto now =
        std::chrono::duration_cast<std::chrono::microseconds>(calendar_now.time_since_epoch());
    rows.push_back({.t_us = (now - age).count(),
                    .sm_mhz = reading.sm_mhz,
                    .mem_mhz = reading.memory_mhz,
                    .power_w = reading.power_w,
                    .temp_c = reading.temperature_c,
                    .event_reasons = reading.slowdown_reasons,
                    .mem_used = reading.used_bytes});
  }
  return rows;
}

}  // namespace sala
