// The library is opened by name, so that one binary runs with and without a driver.
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/nvml.h"

#include <dlfcn.h>
#include <unistd.h>

#include <array>
#include <span>
#include <type_traits>

#include "engine/base/error.h"

namespace sala {
namespace {

// Numbers of the library's interface.
constexpr int kSmClock = 1;
constexpr int kMemoryClock = 2;
constexpr int kGpuTemperature = 0;
constexpr std::uint32_t kInstantPower = 186;
constexpr std::uint64_t kUnknownBytes = ~std::uint64_t{0};
constexpr std::uint32_t kMemoryVersion = sizeof(NvmlFunctions::Memory) | 2U << 24U;

static_assert(sizeof(NvmlFunctions::FieldValue) == 40 && sizeof(NvmlFunctions::Process) == 24 &&
              sizeof(NvmlFunctions::Memory) == 40);

NvmlFunctions load() {
  constexpr const char* kName = "libnvidia-ml.so.1";
  void* library = dlopen(kName, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw Error("NVML",
                "{} is not on this machine, so power, clocks and the driver's memory figure are "
                "not read; it comes with the NVIDIA driver",
                kName);
  }
  const auto find = [&](auto& function, const char* name, const char* older_name = nullptr) {
    void* symbol = dlsym(library, name);
    if (symbol == nullptr && older_name != nullptr) symbol = dlsym(library, older_name);
    if (symbol == nullptr) {
      throw Error("NVML", "{} has no {}; update the NVIDIA driver to 510 or newer", kName, name);
    }
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
  };
  NvmlFunctions functions{};
  find(functions.init, "nvmlInit_v2");
  find(functions.driver_version, "nvmlSystemGetDriverVersion");
  find(functions.device_by_uuid, "nvmlDeviceGetHandleByUUID");
  find(functions.field_values, "nvmlDeviceGetFieldValues");
  find(functions.power_mw, "nvmlDeviceGetPowerUsage");
  find(functions.total_energy_mj, "nvmlDeviceGetTotalEnergyConsumption");
  find(functions.clock_mhz, "nvmlDeviceGetClockInfo");
  find(functions.max_clock_mhz, "nvmlDeviceGetMaxClockInfo");
  find(functions.slowdown_reasons, "nvmlDeviceGetCurrentClocksEventReasons",
       "nvmlDeviceGetCurrentClocksThrottleReasons");
  find(functions.temperature_c, "nvmlDeviceGetTemperature");
  find(functions.processes, "nvmlDeviceGetComputeRunningProcesses_v3");
  find(functions.memory, "nvmlDeviceGetMemoryInfo_v2");
  find(functions.power_limit_mw, "nvmlDeviceGetEnforcedPowerLimit");
  return functions;
}

/// What `read(&value)` gives, times scale; nothing when it fails.
template <typename Value, typename Read>
std::optional<double> scaled(double scale, const Read& read) {
  Value value{};
  if (read(&value) != 0) return std::nullopt;
  return scale * static_cast<double>(value);
}

}  // namespace

const NvmlFunctions& nvml_library() {
  static const NvmlFunctions kFunctions = load();
  return kFunctions;
}

GpuSensors::GpuSensors(const NvmlFunctions& functions, const std::string& uuid)
    : functions_(&functions) {
  if (const int result = functions.init(); result != 0) {
    throw Error("NVML", "could not start (code {}); is the driver loaded? try nvidia-smi", result);
  }
  if (const int result = functions.device_by_uuid(uuid.c_str(), &device_); result != 0) {
    throw Error("NVML", "knows no {} (code {}); sensors of a part of a GPU cannot be read", uuid,
                result);
  }
}

GpuFacts GpuSensors::facts() const {
  GpuFacts facts;
  std::array<char, 96> driver{};
  if (functions_->driver_version(driver.data(), driver.size() - 1) == 0) {
    facts.driver = driver.data();
  }
  facts.power_limit_w = scaled<std::uint32_t>(
      1e-3, [&](std::uint32_t* mw) { return functions_->power_limit_mw(device_, mw); });
  facts.max_sm_mhz = scaled<std::uint32_t>(
      1, [&](std::uint32_t* mhz) { return functions_->max_clock_mhz(device_, kSmClock, mhz); });
  facts.max_memory_mhz = scaled<std::uint32_t>(
      1, [&](std::uint32_t* mhz) { return functions_->max_clock_mhz(device_, kMemoryClock, mhz); });
  return facts;
}

std::optional<double> GpuSensors::power_w() const {
  NvmlFunctions::FieldValue field{};
  field.id = kInstantPower;
  if (functions_->field_values(device_, 1, &field) == 0 && field.result == 0) {
    return 1e-3 * static_cast<double>(field.value.u32);
  }
  return scaled<std::uint32_t>(
      1e-3, [&](std::uint32_t* mw) { return functions_->power_mw(device_, mw); });
}

GpuReading GpuSensors::read() const {
  GpuReading reading;
  reading.time = std::chrono::steady_clock::now();
  reading.power_w = power_w();
  reading.sm_mhz = scaled<std::uint32_t>(
      1, [&](std::uint32_t* mhz) { return functions_->clock_mhz(device_, kSmClock, mhz); });
  reading.memory_mhz = scaled<std::uint32_t>(
      1, [&](std::uint32_t* mhz) { return functions_->clock_mhz(device_, kMemoryClock, mhz); });
  reading.temperature_c = scaled<std::uint32_t>(
      1, [&](std::uint32_t* c) { return functions_->temperature_c(device_, kGpuTemperature, c); });
  unsigned long long reasons = 0;
  if (functions_->slowdown_reasons(device_, &reasons) == 0) reading.slowdown_reasons = reasons;

  read_memory(reading);
  return reading;
}

void GpuSensors::read_memory(GpuReading& reading) const {
  std::array<NvmlFunctions::Process, 64> processes{};
  auto n_listed = static_cast<std::uint32_t>(processes.size());
  if (functions_->processes(device_, &n_listed, processes.data()) == 0) {
    reading.n_processes = n_listed;
    for (const auto& process : std::span(processes.data(), n_listed)) {
      const bool is_own = process.pid == static_cast<std::uint32_t>(getpid());
      if (is_own && process.used_bytes != kUnknownBytes) {
        reading.used_bytes = static_cast<std::int64_t>(process.used_bytes);
      }
    }
  }
  // In a container the driver lists other process ids than the process has itself.
  NvmlFunctions::Memory memory{};
  memory.version = kMemoryVersion;
  if (!reading.used_bytes && functions_->memory(device_, &memory) == 0) {
    reading.used_bytes = static_cast<std::int64_t>(memory.total - memory.reserved - memory.free);
  }
}

std::optional<double> GpuSensors::energy_j() const {
  return scaled<unsigned long long>(
      1e-3, [&](unsigned long long* mj) { return functions_->total_energy_mj(device_, mj); });
}

}  // namespace sala
