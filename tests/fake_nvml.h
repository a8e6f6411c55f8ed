// A GPU's sensors that say what a test sets, behind the functions of the driver's library.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <vector>

#include "engine/base/nvml.h"

namespace sala::testing {

/// One GPU, "GPU-fake". What is set to `kBroken` fails to be read. Values are read from the
/// monitor's thread while a test may set them.
struct FakeGpu {
  static constexpr int kBroken = -1;
  std::atomic<int> instant_mw = 300'000;
  std::atomic<int> mean_mw = 250'000;
  std::atomic<int> sm_mhz = 1755;
  std::atomic<int> reasons = 0;
  std::atomic<std::int64_t> energy_mj = 1'000'000;
  std::atomic<std::int64_t> energy_step_mj = 0;  // added at every reading of the counter
  std::atomic<std::int64_t> own_bytes = 0;       // 0: the process is not listed
  std::atomic<std::int64_t> used_bytes = 0;      // of the whole device
  std::atomic<int> n_other_processes = 0;
  std::atomic<bool> is_driver_loaded = true;

  static FakeGpu& state() {
    static FakeGpu gpu;
    return gpu;
  }
  /// As a new one.
  static void reset() {
    FakeGpu& gpu = state();
    gpu.instant_mw = 300'000;
    gpu.mean_mw = 250'000;
    gpu.sm_mhz = 1755;
    gpu.reasons = 0;
    gpu.energy_mj = 1'000'000;
    gpu.energy_step_mj = 0;
    gpu.own_bytes = 0;
    gpu.used_bytes = 0;
    gpu.n_other_processes = 0;
    gpu.is_driver_loaded = true;
  }
};

inline const NvmlFunctions& fake_nvml() {
  using Device = NvmlFunctions::Device;
  static constexpr int kFailed = 3;  // "not supported"
  static constexpr auto give = [](int value, std::uint32_t* into) {
    if (value == FakeGpu::kBroken) return kFailed;
    *into = static_cast<std::uint32_t>(value);
    return 0;
  };
  static constexpr std::int64_t kInstalled = std::int64_t{80} << 30;
  static constexpr std::int64_t kReserved = std::int64_t{1} << 29;
  static const NvmlFunctions kFunctions{
      .init = [] { return FakeGpu::state().is_driver_loaded ? 0 : 9; },
      .driver_version =
          [](char* text, std::uint32_t size) {
            std::strncpy(text, "580.1", size);
            return 0;
          },
      .device_by_uuid =
          [](const char* uuid, Device* device) {
            *device = &FakeGpu::state();
            return std::string(uuid) == "GPU-fake" ? 0 : 6;
          },
      .field_values =
          [](Device, int, NvmlFunctions::FieldValue* values) {
            values->result = give(FakeGpu::state().instant_mw, &values->value.u32);
            return values->id == 186 ? 0 : kFailed;
          },
      .power_mw = [](Device, std::uint32_t* mw) { return give(FakeGpu::state().mean_mw, mw); },
      .total_energy_mj =
          [](Device, unsigned long long* mj) {
            FakeGpu& gpu = FakeGpu::state();
            if (gpu.energy_mj == FakeGpu::kBroken) return kFailed;
            *mj = static_cast<unsigned long long>(gpu.energy_mj += gpu.energy_step_mj);
            return 0;
          },
      .clock_mhz =
          [](Device, int clock, std::uint32_t* mhz) {
            return give(clock == 1 ? FakeGpu::state().sm_mhz.load() : 2619, mhz);
          },
      .max_clock_mhz = [](Device, int clock,
                          std::uint32_t* mhz) { return give(clock == 1 ? 1980 : 2619, mhz); },
      .slowdown_reasons =
          [](Device, unsigned long long* reasons) {
            *reasons = static_cast<unsigned long long>(FakeGpu::state().reasons);
            return 0;
          },
      .temperature_c = [](Device, int, std::uint32_t* celsius) { return give(41, celsius); },
      .processes =
          [](Device, std::uint32_t* n, NvmlFunctions::Process* processes) {
            const FakeGpu& gpu = FakeGpu::state();
            std::uint32_t n_listed = 0;
            for (int i = 0; i < gpu.n_other_processes; ++i) {
              processes[n_listed++] = {1, 123, 0, 0};
            }
            if (gpu.own_bytes > 0) {
              processes[n_listed++] = {static_cast<std::uint32_t>(getpid()),
                                       static_cast<std::uint64_t>(gpu.own_bytes), 0, 0};
            }
            *n = n_listed;
            return 0;
          },
      .memory =
          [](Device, NvmlFunctions::Memory* memory) {
            if (memory->version != (40U | 2U << 24U)) return 25;
            memory->total = kInstalled;
            memory->reserved = kReserved;
            memory->free =
                static_cast<std::uint64_t>(kInstalled - kReserved - FakeGpu::state().used_bytes);
            memory->used = memory->total - memory->free;
            return 0;
          },
      .power_limit_mw = [](Device, std::uint32_t* mw) { return give(700'000, mw); },
  };
  return kFunctions;
}

}  // namespace sala::testing
