// Tells whether the process that left a running row behind is still there; makes unique ids.
// SPDX-License-Identifier: Apache-2.0
#include "harness/store/process.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <system_error>

namespace sala {
namespace {

constexpr std::int64_t kHeartbeatLimitUs = 60'000'000;

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// Clock ticks from boot to the start of a process, which no later owner of its id shares; "" when
/// there is no such process.
std::string start_time(std::int64_t pid) {
  const std::string stat = first_line(fmt::format("/proc/{}/stat", pid));
  const auto name_end = stat.rfind(')');  // the name may hold spaces
  if (name_end == std::string::npos) return {};
  std::istringstream fields(stat.substr(name_end + 1));
  std::string field;
  for (int number = 3; number <= 22 && fields >> field; ++number) {
    if (number == 3 && (field == "Z" || field == "X")) return {};
  }
  return field;
}

std::string pid_namespace() {
  std::error_code failed;
  return std::filesystem::read_symlink("/proc/self/ns/pid", failed).string();
}

}  // namespace

std::int64_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string make_uid() {
  static std::random_device device;
  const auto word = [] { return (std::uint64_t{device()} << 32) | device(); };
  const auto ms = static_cast<std::uint64_t>(now_us() / 1000);
  const std::uint64_t a = word();
  const std::uint64_t b = word();
  return fmt::format("{:08x}-{:04x}-7{:03x}-{:04x}-{:012x}", (ms >> 16) & 0xffffffff, ms & 0xffff,
                     a & 0xfff, 0x8000 | (a >> 12 & 0x3fff), b & 0xffffffffffff);
}

std::string process_identity() {
  const std::int64_t pid = getpid();
  return nlohmann::json{{"process",
                         {{"boot", first_line("/proc/sys/kernel/random/boot_id")},
                          {"namespace", pid_namespace()},
                          {"pid", pid},
                          {"start", start_time(pid)}}}}
      .dump();
}

bool process_is_alive(std::string_view identity, std::int64_t heartbeat_us) {
  const auto json = nlohmann::json::parse(identity, nullptr, false);
  const auto process =
      json.is_object() ? json.value("process", nlohmann::json::object()) : nlohmann::json::object();
  const bool is_visible =
      process.value("boot", "") == first_line("/proc/sys/kernel/random/boot_id") &&
      process.value("namespace", "") == pid_namespace();
  if (!is_visible) return now_us() - heartbeat_us < kHeartbeatLimitUs;
  const std::string start = start_time(process.value("pid", std::int64_t{0}));
  return !start.empty() && start == process.value("start", "");
}

}  // namespace sala
