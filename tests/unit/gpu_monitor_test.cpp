// Energy is the integral of power over a request and its phases; disturbances become flags.
// SPDX-License-Identifier: Apache-2.0
#include "harness/runner/gpu_monitor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "tests/fake_nvml.h"

namespace sala::testing {
namespace {

using std::chrono::milliseconds;

const MonitorTime kStart = std::chrono::steady_clock::now();

GpuReading reading(int ms, double watts) {
  GpuReading result{.time = kStart + milliseconds(ms)};
  result.power_w = watts;
  return result;
}

std::vector<GpuReading> steady(int from_ms, int to_ms, double watts) {
  std::vector<GpuReading> readings;
  for (int ms = from_ms; ms <= to_ms; ms += 50) readings.push_back(reading(ms, watts));
  return readings;
}

double joules(const std::vector<GpuReading>& readings, int from_ms, int to_ms) {
  return joules_between(readings, kStart + milliseconds(from_ms), kStart + milliseconds(to_ms))
      .value();
}

TEST(Energy, constant_power_is_power_times_time_wherever_the_readings_lie) {
  for (const int offset : {0, 1, 17, 49}) {
    EXPECT_NEAR(joules(steady(-offset, 1000, 200), 3, 803), 160, 1e-9) << offset;
  }
}

TEST(Energy, a_ramp_is_integrated_exactly) {
  // 100 W at 0 and 300 W at 1 s: the mean of 0.25 to 0.75 s is 200 W.
  EXPECT_NEAR(joules({reading(0, 100), reading(1000, 300)}, 250, 750), 100, 1e-9);
  EXPECT_NEAR(joules({reading(0, 100), reading(500, 200), reading(1000, 300)}, 250, 750), 100,
              1e-9);
}

TEST(Energy, outside_the_readings_the_nearest_one_holds) {
  EXPECT_NEAR(joules({reading(0, 100), reading(100, 200)}, 200, 700), 100, 1e-9);
  EXPECT_NEAR(joules({reading(0, 100), reading(100, 200)}, -500, -200), 30, 1e-9);
}

TEST(Energy, parts_add_up_to_the_whole) {
  std::vector<GpuReading> readings;
  readings.reserve(40);
  for (int i = 0; i < 40; ++i) readings.push_back(reading(37 * i, 150 + 13 * ((i * 7) % 11)));
  EXPECT_NEAR(joules(readings, 10, 555) + joules(readings, 555, 1400), joules(readings, 10, 1400),
              1e-9);
}

TEST(Energy, without_power_there_is_none) {
  GpuReading blind{.time = kStart};
  EXPECT_FALSE(joules_between({blind, blind}, kStart, kStart + milliseconds(9)));
  EXPECT_FALSE(joules_between({}, kStart, kStart + milliseconds(9)));
  EXPECT_TRUE(make_energy_values({}, {}, 10, 0).empty());
}

TEST(Energy, phases_and_tokens_of_a_request_get_theirs) {
  GpuWindow window{.readings = steady(0, 5000, 400), .counter_j = 2000};
  const auto high = steady(0, 1000, 500);
  std::copy(high.begin(), high.end(), window.readings.begin());
  const Timing timing{.ttft_ns = 1'000'000'000,
                      .prefill_ns = 900'000'000,
                      .total_ns = 3'000'000'000,
                      .itl_ns = std::vector<std::int64_t>(20, 100'000'000),
                      .start = kStart};
  std::map<std::string, double> values;
  for (const ValueRow& row : make_energy_values(window, timing, 1000, 7)) {
    EXPECT_EQ(row.rep, 7);
    values[row.metric + "/" + row.stage] = row.value;
  }
  EXPECT_NEAR(values.at("energy_j/prefill"), 450, 1e-6);
  EXPECT_NEAR(values.at("prefill_j_tok/total"), 0.45, 1e-9);
  EXPECT_NEAR(values.at("energy_j/decode"), 800, 3);  // one interval falls from 500 to 400 W
  EXPECT_NEAR(values.at("decode_j_tok/total"), 40, 0.2);
  EXPECT_NEAR(values.at("energy_j/total"), 500 + 800, 3);
  EXPECT_EQ(values.at("energy_counter_j/total"), 2000);
}

TEST(Energy, a_request_without_an_answer_has_none_for_decoding) {
  const Timing timing{
      .prefill_ns = 900'000'000, .total_ns = 900'000'000, .itl_ns = {}, .start = kStart};
  for (const ValueRow& row : make_energy_values({steady(0, 1000, 100), {}}, timing, 10, 0)) {
    EXPECT_NE(row.stage, "decode");
    EXPECT_NE(row.metric, "decode_j_tok");
  }
}

TEST(Flags, heat_and_power_supply_are_hard_and_the_power_cap_is_soft) {
  for (const auto& [reasons, flags] :
       std::map<std::uint64_t, std::int64_t>{{0, 0},
                                             {0x1, 0},
                                             {0x4, kPowerCappedFlag},
                                             {0x8, kThrottledFlag},
                                             {0x20, kThrottledFlag},
                                             {0x40, kThrottledFlag},
                                             {0x80, kThrottledFlag},
                                             {0x44, kThrottledFlag | kPowerCappedFlag}}) {
    GpuWindow window{.readings = steady(0, 100, 100), .counter_j = {}};
    window.readings[1].slowdown_reasons = reasons;
    EXPECT_EQ(window_flags(window), flags) << reasons;
  }
  EXPECT_EQ(kPowerCappedFlag & kHardFlags, 0);
}

TEST(Flags, a_second_process_is_foreign) {
  GpuWindow window{.readings = steady(0, 100, 100), .counter_j = {}};
  window.readings[0].n_processes = 2;
  window.readings[1].n_processes = 1;
  EXPECT_EQ(window_flags(window), 0);
  window.readings[1].n_processes = 2;
  EXPECT_EQ(window_flags(window), kForeignProcessFlag);
}

TEST(Flags, counter_and_power_are_held_against_each_other_over_two_seconds) {
  EXPECT_EQ(window_flags({steady(0, 3000, 100), 295}), 0);
  EXPECT_EQ(window_flags({steady(0, 3000, 100), 340}), kEnergyDisagreesFlag);
  EXPECT_EQ(window_flags({steady(0, 3000, 100), 260}), kEnergyDisagreesFlag);
  EXPECT_EQ(window_flags({steady(0, 1000, 100), 900}), 0);
}

TEST(Monitor, a_window_is_read_from_before_the_work_to_after_it) {
  FakeGpu::reset();
  FakeGpu& gpu = FakeGpu::state();
  gpu.energy_step_mj = 5000;
  gpu.own_bytes = 100;
  GpuMonitor monitor(GpuSensors(fake_nvml(), "GPU-fake"));
  const auto before = std::chrono::steady_clock::now();
  monitor.start();
  gpu.own_bytes = 900;
  std::this_thread::sleep_for(milliseconds(180));
  gpu.own_bytes = 200;
  gpu.sm_mhz = 600;
  const auto after = std::chrono::steady_clock::now();
  const GpuWindow window = monitor.stop();
  ASSERT_GE(window.readings.size(), 4U);  // two ends and, at 50 ms, three between
  EXPECT_GE(window.readings.front().time, before);
  EXPECT_GE(window.readings.back().time, after);
  EXPECT_EQ(window.counter_j, 5);
  EXPECT_EQ(window_peak_bytes(window), 900);
  EXPECT_EQ(window_sm_mhz(window), 1755);

  const auto telemetry = make_telemetry(window);
  ASSERT_EQ(telemetry.size(), window.readings.size());
  EXPECT_TRUE(std::is_sorted(telemetry.begin(), telemetry.end(),
                             [](const auto& a, const auto& b) { return a.t_us < b.t_us; }));
  EXPECT_EQ(telemetry.back().sm_mhz, 600);
}

TEST(Monitor, a_window_that_was_never_stopped_is_dropped_by_the_next) {
  FakeGpu::reset();
  GpuMonitor monitor(GpuSensors(fake_nvml(), "GPU-fake"));
  monitor.start();
  const auto second = std::chrono::steady_clock::now();
  monitor.start();
  EXPECT_GE(monitor.stop().readings.front().time, second);
  EXPECT_TRUE(monitor.stop().readings.empty());
}

}  // namespace
}  // namespace sala::testing
