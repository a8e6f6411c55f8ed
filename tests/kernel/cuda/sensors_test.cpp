// The driver's sensors on a real GPU: they move with the work, and count the memory that we hold.
// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <cmath>
#include <thread>

#include "engine/base/nvml.h"
#include "engine/engine.h"
#include "tests/kernel/cuda/device_fixture.h"
#include "tests/tiny_model.h"

namespace sala::testing {
namespace {

class Sensors : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (IsSkipped()) return;
    try {
      sensors_ = std::make_unique<GpuSensors>(nvml_library(), backend_->info().uuid);
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
  }
  std::unique_ptr<GpuSensors> sensors_;
};

TEST_F(Sensors, the_gpu_is_found_by_its_uuid_and_says_what_it_is_and_does) {
  const GpuFacts facts = sensors_->facts();
  EXPECT_FALSE(facts.driver.empty());
  EXPECT_GT(facts.max_sm_mhz.value_or(0), 500);
  EXPECT_GT(facts.power_limit_w.value_or(0), 50);
  const GpuReading reading = sensors_->read();
  EXPECT_GT(reading.power_w.value_or(0), 5);
  EXPECT_LE(reading.sm_mhz.value_or(0), facts.max_sm_mhz.value_or(0));
  EXPECT_GT(reading.temperature_c.value_or(0), 10);
  EXPECT_LT(reading.temperature_c.value_or(0), 110);
  EXPECT_TRUE(reading.slowdown_reasons);
}

TEST_F(Sensors, the_energy_counter_and_the_power_agree_under_load) {
  constexpr std::int64_t kSide = 8192;
  const Tensor x = make_tensor(*backend_, kSide, kSide, "workspace");
  const Tensor y = make_tensor(*backend_, kSide, kSide, "workspace");
  const Tensor out = make_tensor(*backend_, kSide, kSide, "workspace");
  backend_->fill_uniform(x.view, 1, 1.0F);
  backend_->fill_uniform(y.view, 2, 1.0F);
  const auto before = sensors_->energy_j();
  if (!before) GTEST_SKIP() << "the GPU has no energy counter";
  const auto start = std::chrono::steady_clock::now();
  double watts = 0;
  int n = 0;
  while (std::chrono::steady_clock::now() - start < std::chrono::seconds(4)) {
    for (int i = 0; i < 20; ++i) backend_->matmul(x.view, y.view, out.view);
    backend_->wait();
    watts += sensors_->read().power_w.value_or(0);
    ++n;
  }
  const double joules = *sensors_->energy_j() - *before;
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_GT(joules, 0);
  EXPECT_NEAR(joules / (watts / n * seconds), 1, 0.15);
}

TEST_F(Sensors, an_allocation_is_counted_within_3_percent) {
  constexpr std::int64_t kBytes = std::int64_t{2} << 30;
  const auto before = sensors_->read().used_bytes;
  ASSERT_TRUE(before);
  const Buffer buffer = backend_->allocate(kBytes, "workspace");
  const auto grown = static_cast<double>(*sensors_->read().used_bytes - *before);
  EXPECT_NEAR(grown / static_cast<double>(kBytes), 1, 0.03);
}

TEST_F(Sensors, a_sequence_takes_what_was_predicted_within_3_percent) {
  TempFolder folder;
  TinyOptions sizes;
  sizes.n_heads = 16;
  sizes.n_kv_heads = 16;
  sizes.lightning_nkv = 16;
  sizes.head_dim = 128;
  sizes.hidden = 256;
  sizes.family = "qwen3";
  sizes.changes = nlohmann::json::object();
  write_tiny_model(folder.path(), sizes);
  EngineOptions options;
  options.model = folder.path();
  options.device = "cuda:0";
  options.chunk = 256;
  const auto engine = make_engine(options);
  const auto request = [&](std::int64_t room) {
    Request short_one;
    short_one.prompt = {1, 2, 3};
    short_one.max_new_tokens = 3;
    short_one.room = room;
    engine->run(short_one);
    return static_cast<double>(*sensors_->read().used_bytes);
  };
  const auto planned = [&](std::int64_t room) {
    double bytes = 0;
    for (const CategoryBytes& row : engine->plan_memory(room)) {
      bytes += static_cast<double>(row.bytes);
    }
    return bytes;
  };
  constexpr std::int64_t kShort = 1024;
  constexpr std::int64_t kLong = 65536;
  const double at_short = request(kShort);
  const double at_long = request(kLong);
  EXPECT_NEAR((at_long - at_short) / (planned(kLong) - planned(kShort)), 1, 0.03);
}

}  // namespace
}  // namespace sala::testing
