// Sensors of an NVIDIA GPU, read through the driver's own library where the machine has it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace sala {

/// The functions of libnvidia-ml.so.1 that are called. Their ABI is fixed: what changes gets a new
/// name there. Each returns 0 when it could do what it says. Tests put functions of their own here.
struct NvmlFunctions {
  using Device = void*;
  /// Of nvmlDeviceGetFieldValues().
  struct FieldValue {
    std::uint32_t id;
    std::uint32_t scope;
    std::int64_t timestamp_us;
    std::int64_t latency_us;
    std::int32_t type;  // 1: unsigned int, which is what power comes in
    std::int32_t result;
    union {
      std::uint32_t u32;
      std::uint64_t u64;
    } value;
  };
  /// Of nvmlDeviceGetComputeRunningProcesses_v3().
  struct Process {
    std::uint32_t pid;
    std::uint64_t used_bytes;  // all bits set: not known
    std::uint32_t gpu_instance;
    std::uint32_t compute_instance;
  };
  /// Of nvmlDeviceGetMemoryInfo_v2().
  struct Memory {
    std::uint32_t version;
    std::uint64_t total;
    std::uint64_t reserved;
    std::uint64_t free;
    std::uint64_t used;
  };

  int (*init)();
  int (*driver_version)(char* text, std::uint32_t size);
  int (*device_by_uuid)(const char* uuid, Device* device);
  int (*field_values)(Device device, int n, FieldValue* values);
  int (*power_mw)(Device device, std::uint32_t* mw);  // mean of the last second on many GPUs
  int (*total_energy_mj)(Device device, unsigned long long* mj);
  int (*clock_mhz)(Device device, int clock, std::uint32_t* mhz);
  int (*max_clock_mhz)(Device device, int clock, std::uint32_t* mhz);
  int (*slowdown_reasons)(Device device, unsigned long long* reasons);
  int (*temperature_c)(Device device, int sensor, std::uint32_t* celsius);
  int (*processes)(Device device, std::uint32_t* n, Process* processes);
  int (*memory)(Device device, Memory* memory);
  int (*power_limit_mw)(Device device, std::uint32_t* mw);
};

/// The driver's library, loaded at the first call. Throws Error when the machine has none or it
/// lacks a function.
const NvmlFunctions& nvml_library();

/// What does not change while a process runs; nothing where the driver does not say.
struct GpuFacts {
  std::string driver;
  std::optional<double> power_limit_w;
  std::optional<double> max_sm_mhz;
  std::optional<double> max_memory_mhz;
};

/// Bits of GpuReading::slowdown_reasons.
constexpr std::uint64_t kPowerCapped = 0x4;  // software power cap: normal in long matrix products
constexpr std::uint64_t kThrottled = 0x8 | 0x20 | 0x40 | 0x80;  // hardware, heat, power brake

/// The sensors at one moment; nothing where the driver does not say.
struct GpuReading {
  std::chrono::steady_clock::time_point time;
  std::optional<double> power_w{};
  std::optional<double> sm_mhz{};
  std::optional<double> memory_mhz{};
  std::optional<double> temperature_c{};
  std::optional<std::uint64_t> slowdown_reasons{};
  std::optional<std::int64_t> used_bytes{};  // by this process, or by all where it is not listed
  std::int64_t n_processes = 0;              // that compute on the GPU
};

/// One GPU. Reads only; may be used from several threads.
class GpuSensors {
 public:
  /// uuid: "GPU-" and the hexadecimal digits of CUDA's uuid. Throws Error when the driver knows no
  /// such GPU. functions must outlive the sensors.
  GpuSensors(const NvmlFunctions& functions, const std::string& uuid);

  GpuFacts facts() const;
  /// Takes about a tenth of a millisecond.
  GpuReading read() const;
  /// Joules since the driver was loaded. It may take some milliseconds and moves in steps of about
  /// a tenth of a second.
  std::optional<double> energy_j() const;

 private:
  std::optional<double> power_w() const;
  void read_memory(GpuReading& reading) const;

  const NvmlFunctions* functions_;
  NvmlFunctions::Device device_ = nullptr;
};

}  // namespace sala
