// Reads /proc and the control group of this process.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/machine.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

#include "engine/backend/cpu/parallel.h"

namespace sala {

namespace {

/// The number after `key` in a file of "key value" lines.
std::optional<std::int64_t> field(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    std::istringstream rest(line.substr(key.size()));
    std::int64_t value = 0;
    if (rest >> value) return value;
  }
  return std::nullopt;
}

/// Folder of this process's control group (version 2), or of the root when it cannot be seen.
std::string control_group() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("0::")) continue;
    std::string folder = "/sys/fs/cgroup" + line.substr(3);
    if (std::ifstream(folder + "/cgroup.controllers")) return folder;
  }
  return "/sys/fs/cgroup";
}

std::int64_t group_memory_left() {
  constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();
  const std::string group = control_group();
  std::optional<std::int64_t> limit = field(group + "/memory.max", "");
  std::optional<std::int64_t> used = field(group + "/memory.current", "");
  std::int64_t cache = field(group + "/memory.stat", "inactive_file ").value_or(0);
  if (!limit) {
    const std::string first_version = "/sys/fs/cgroup/memory/memory.";
    limit = field(first_version + "limit_in_bytes", "");
    used = field(first_version + "usage_in_bytes", "");
    cache = field(first_version + "stat", "total_inactive_file ").value_or(0);
  }
  if (!limit || !used) return kNoLimit;
  return std::max<std::int64_t>(0, *limit - *used + cache);
}

}  // namespace

std::int64_t available_memory_bytes() {
  const std::int64_t machine =
      field("/proc/meminfo", "MemAvailable:").value_or(installed_memory_bytes() / 1024) * 1024;
  return std::min(machine, group_memory_left());
}

std::int64_t installed_memory_bytes() {
  return static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
}

std::string cpu_model_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "CPU";
}

int usable_cores() {
  int cores = omp_get_max_threads();
  std::ifstream file(control_group() + "/cpu.max");
  double quota = 0;
  double period = 0;
  if (file >> quota >> period && period > 0) {
    cores = std::min(cores, std::max(1, static_cast<int>(std::ceil(quota / period))));
  }
  return cores;
}

}  // namespace sala
