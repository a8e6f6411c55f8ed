// What the driver's library says is read, what it does not say is nothing, and its absence a fact.
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/nvml.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "tests/expect_error.h"
#include "tests/fake_nvml.h"

namespace sala::testing {
namespace {

class Nvml : public ::testing::Test {
 protected:
  void SetUp() override { FakeGpu::reset(); }

  FakeGpu& gpu_ = FakeGpu::state();
};

TEST_F(Nvml, every_sensor_is_read_in_its_unit) {
  gpu_.own_bytes = 7 << 20;
  const GpuSensors sensors(fake_nvml(), "GPU-fake");
  const GpuFacts facts = sensors.facts();
  EXPECT_EQ(facts.driver, "580.1");
  EXPECT_EQ(facts.power_limit_w, 700);
  EXPECT_EQ(facts.max_sm_mhz, 1980);
  EXPECT_EQ(facts.max_memory_mhz, 2619);
  const GpuReading reading = sensors.read();
  EXPECT_EQ(reading.power_w, 300);
  EXPECT_EQ(reading.sm_mhz, 1755);
  EXPECT_EQ(reading.memory_mhz, 2619);
  EXPECT_EQ(reading.temperature_c, 41);
  EXPECT_EQ(reading.slowdown_reasons, 0U);
  EXPECT_EQ(reading.used_bytes, 7 << 20);
  EXPECT_EQ(reading.n_processes, 1);
  EXPECT_EQ(sensors.energy_j(), 1000);
}

TEST_F(Nvml, the_mean_power_stands_in_where_there_is_none_of_the_moment) {
  gpu_.instant_mw = FakeGpu::kBroken;
  EXPECT_EQ(GpuSensors(fake_nvml(), "GPU-fake").read().power_w, 250);
}

TEST_F(Nvml, a_sensor_that_fails_is_nothing_and_no_number) {
  gpu_.instant_mw = FakeGpu::kBroken;
  gpu_.mean_mw = FakeGpu::kBroken;
  gpu_.sm_mhz = FakeGpu::kBroken;
  gpu_.energy_mj = FakeGpu::kBroken;
  const GpuSensors sensors(fake_nvml(), "GPU-fake");
  const GpuReading reading = sensors.read();
  EXPECT_FALSE(reading.power_w);
  EXPECT_FALSE(reading.sm_mhz);
  EXPECT_TRUE(reading.memory_mhz);
  EXPECT_FALSE(sensors.energy_j());
}

TEST_F(Nvml, a_process_that_is_not_listed_counts_what_the_device_holds_without_the_reserve) {
  gpu_.used_bytes = 3 << 20;
  EXPECT_EQ(GpuSensors(fake_nvml(), "GPU-fake").read().used_bytes, 3 << 20);
}

TEST_F(Nvml, an_unknown_gpu_and_a_driver_that_is_not_loaded_are_named) {
  expect_error([] { GpuSensors(fake_nvml(), "GPU-other"); }, {"knows no GPU-other"});
  gpu_.is_driver_loaded = false;
  expect_error([] { GpuSensors(fake_nvml(), "GPU-fake"); }, {"code 9"});
}

TEST(NvmlLibrary, without_a_driver_it_says_what_is_missing_every_time) {
  if (void* library = dlopen("libnvidia-ml.so.1", RTLD_LAZY)) {
    dlclose(library);
    GTEST_SKIP() << "this machine has a driver";
  }
  expect_error([] { nvml_library(); }, {"libnvidia-ml.so.1 is not on this machine"});
  expect_error([] { nvml_library(); }, {"libnvidia-ml.so.1 is not on this machine"});
}

}  // namespace
}  // namespace sala::testing
