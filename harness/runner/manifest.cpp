// What surrounds a run: machine, binary, and the settings that can move a number.
// SPDX-License-Identifier: Apache-2.0
#include "harness/runner/manifest.h"

#include <gnu/libc-version.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <thread>

#include "engine/base/build_info.h"
#include "engine/base/error.h"
#include "engine/base/nvml.h"
#include "engine/base/sha256.h"

namespace sala {
namespace {

constexpr std::array kVariablePrefixes{"BLIS_",   "CUDA_", "DNNL_", "GOMP_",     "MALLOC_", "MKL_",
                                       "ONEDNN_", "OMP_",  "SALA_", "OPENBLAS_", "LC_",     "LANG"};

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// Text behind "key ... :" of the first line that starts with the key.
std::string field(const std::string& path, std::string_view key, char separator) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const auto at = line.find(separator);
    if (at == std::string::npos) continue;
    std::string value = line.substr(at + 1);
    value.erase(0, value.find_first_not_of(" \t\""));
    value.erase(value.find_last_not_of(" \t\"") + 1);
    return value;
  }
  return {};
}

std::int64_t kilobytes(const std::string& path, std::string_view key) {
  const std::string value = field(path, key, ':');
  return value.empty() ? 0 : std::stoll(value) * 1024;
}

/// The name /etc/machine-id gives, hashed so that it can be published; else that of the host.
std::string machine_uid(const std::string& hostname) {
  const std::string id = first_line("/etc/machine-id");
  return sha256_hex(id.empty() ? "host " + hostname : "machine " + id).substr(0, 32);
}

}  // namespace

std::string relevant_variables() {
  nlohmann::json variables = nlohmann::json::object();
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto name = text.substr(0, text.find('='));
    const auto is_relevant = [&](const char* prefix) { return name.starts_with(prefix); };
    if (name.size() < text.size() &&
        std::any_of(kVariablePrefixes.begin(), kVariablePrefixes.end(), is_relevant)) {
      variables[std::string(name)] = text.substr(name.size() + 1);
    }
  }
  return variables.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

EnvironmentRow capture_environment() {
  EnvironmentRow row;
  utsname system{};
  uname(&system);
  row.hostname = system.nodename;
  row.machine_uid = machine_uid(row.hostname);
  row.kernel = std::string(system.sysname) + " " + system.release + " " + system.machine;
  row.os = field("/etc/os-release", "PRETTY_NAME", '=');
  row.cpu_model = field("/proc/cpuinfo", "model name", ':');
  row.n_cores = std::thread::hardware_concurrency();
  row.ram_bytes = kilobytes("/proc/meminfo", "MemTotal");
  row.cpu_governor = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");

  const BuildInfo& build = build_info();
  row.git_commit = build.git_commit;
  row.git_dirty = build.git_dirty;
  const bool is_unnamed = build.git_commit.find_first_not_of('0') == std::string::npos;
  // What changes the binary is what counts, so the binary itself stands for the uncommitted change.
  if (build.git_dirty || is_unnamed) row.diff_sha256 = sha256_file("/proc/self/exe");
  row.version = build.version;
  row.compiler = build.compiler;
  row.flags = build.flags;

  row.info =
      nlohmann::json{{"cgroup_cpu", first_line("/sys/fs/cgroup/cpu.max")},
                     {"cgroup_memory", first_line("/sys/fs/cgroup/memory.max")},
                     {"cpu_flags", field("/proc/cpuinfo", "flags", ':')},
                     {"huge_pages", first_line("/sys/kernel/mm/transparent_hugepage/enabled")},
                     {"libc", std::string("glibc ") + gnu_get_libc_version()},
                     {"turbo_off", first_line("/sys/devices/system/cpu/intel_pstate/no_turbo")},
                     {"variables", nlohmann::json::parse(relevant_variables())}}
          .dump();
  return row;
}

void add_gpu(EnvironmentRow& row, const DeviceInfo& gpu) {
  const auto number = [](const std::optional<double>& value) {
    return value ? nlohmann::json(*value) : nlohmann::json();
  };
  nlohmann::json facts{{"name", gpu.name}, {"uuid", gpu.uuid}};
  try {
    const GpuFacts read = GpuSensors(nvml_library(), gpu.uuid).facts();
    row.driver = read.driver;
    row.power_limit_w = read.power_limit_w;
    facts["max_memory_mhz"] = number(read.max_memory_mhz);
    facts["max_sm_mhz"] = number(read.max_sm_mhz);
    facts["power_limit_w"] = number(read.power_limit_w);
  } catch (const Error& error) {
    facts["sensors"] = error.what();
  }
  nlohmann::json info = nlohmann::json::parse(row.info);
  info["gpus"][gpu.id] = std::move(facts);
  row.info = info.dump();
}

std::vector<std::string> command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> arguments;
  for (std::string argument; std::getline(file, argument, '\0');) arguments.push_back(argument);
  return arguments;
}

std::int64_t host_peak_bytes() {
  return kilobytes("/proc/self/status", "VmHWM");
}

void reset_host_peak() {
  std::ofstream("/proc/self/clear_refs") << "5";  // where this is refused the peak covers the past
}

}  // namespace sala
