// sala doctor: what this machine offers, what is missing, and how to mend it.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/ranges.h>
#include <oneapi/dnnl/dnnl.h>
#include <sqlite3.h>
#include <sys/vfs.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/backend/backend.h"
#include "engine/base/build_info.h"
#include "engine/base/data_dir.h"
#include "engine/base/error.h"
#include "engine/base/nvml.h"
#include "engine/bench/ceilings.h"
#include "harness/cli/command.h"
#include "harness/plan/sizes.h"
#include "harness/profile/run_tool.h"
#include "harness/runner/manifest.h"
#include "harness/store/database.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

struct Finding {
  std::string name;
  std::string value;
  std::string fix;  // empty: nothing to mend
};
using Findings = std::vector<Finding>;

struct DoctorFlags {
  std::string db = "sala.db";
  bool json = false;
};

void check_processor(const EnvironmentRow& environment, Findings& findings) {
  constexpr std::array kExtensions{"avx2",        "fma",      "avx512f", "avx512_vnni",
                                   "avx512_bf16", "amx_bf16", "asimd"};
  const auto flags = nlohmann::json::parse(environment.info).value("cpu_flags", "");
  std::vector<std::string> found;
  for (const char* extension : kExtensions) {
    if (fmt::format(" {} ", flags).find(fmt::format(" {} ", extension)) != std::string::npos) {
      found.emplace_back(extension);
    }
  }
  findings.push_back({"processor", environment.cpu_model, ""});
  findings.push_back(
      {"simd", found.empty() ? "none known" : fmt::format("{}", fmt::join(found, ", ")),
       found.empty() ? "expect slow runs: the matrix library finds nothing it is tuned for" : ""});
  if (!environment.cpu_governor.empty()) {
    findings.push_back({"cpu_governor", environment.cpu_governor,
                        environment.cpu_governor == "performance"
                            ? ""
                            : "clocks vary; for timings: cpupower frequency-set -g performance"});
  }
}

/// uuid: of the GPU, or empty when none can be used.
void check_sensors(const std::string& uuid, Findings& findings) {
  try {
    const NvmlFunctions& functions = nvml_library();
    if (uuid.empty()) {
      findings.push_back({"gpu_sensors", "the driver's library is here, without a usable GPU", ""});
      return;
    }
    const GpuSensors sensors(functions, uuid);
    const GpuFacts facts = sensors.facts();
    const GpuReading now = sensors.read();
    const auto shown = [](const std::optional<double>& value, const char* unit) {
      return value ? fmt::format("{:.0f} {}", *value, unit) : fmt::format("unknown {}", unit);
    };
    findings.push_back(
        {"gpu_sensors",
         fmt::format("driver {}, SM clock up to {}, power up to {}; now {}, {}, {}, {} in use",
                     facts.driver, shown(facts.max_sm_mhz, "MHz"), shown(facts.power_limit_w, "W"),
                     shown(now.sm_mhz, "MHz"), shown(now.power_w, "W"),
                     shown(now.temperature_c, "\u00b0C"),
                     now.used_bytes ? format_bytes(*now.used_bytes) : "unknown memory"),
         (now.slowdown_reasons.value_or(0) & kThrottled) != 0
             ? "the GPU is slowed down by heat or its power supply; times will not count"
             : ""});
  } catch (const Error& error) {
    findings.push_back({"gpu_sensors", "not read", error.what()});
  }
}

void check_devices(Findings& findings) {
  std::string uuid;
  for (const char* device : {"cpu", "cuda"}) {
    try {
      const auto backend = make_backend(device, 0);
      const std::int64_t available = backend->available_bytes();
      findings.push_back(
          {device,
           fmt::format("{}, {} threads, {} of {} available", backend->info().name,
                       backend->info().threads, format_bytes(available),
                       format_bytes(backend->info().memory_bytes)),
           available < std::int64_t{1} << 30 ? "less than 1 GiB is free; end other programs" : ""});
      uuid = backend->info().uuid;
      const Ceilings ceilings = measure_ceilings(*backend);
      findings.push_back(
          {fmt::format("{}_ceilings", device),
           fmt::format(
               "{:.0f} GFLOP/s {} matrix product ({:.0f} narrow, {:.1f} of one row), {:.1f} "
               "GB/s copy, {:.3g} exp/s",
               ceilings.gemm_flops_per_s / 1e9, dtype_name(backend->compute_dtype()),
               ceilings.narrow_gemm_flops_per_s / 1e9, ceilings.row_gemm_flops_per_s / 1e9,
               ceilings.copy_bytes_per_s / 1e9, ceilings.exp_per_s),
           ""});
    } catch (const Error& error) {
      findings.push_back({device, "not available", error.what()});
    }
  }
  check_sensors(uuid, findings);
}

void check_libraries(Findings& findings) {
  const dnnl_version_t* dnnl = dnnl_version();
  findings.push_back({"libraries",
                      fmt::format("oneDNN {}.{}.{}, SQLite {}, fmt {}.{}.{}", dnnl->major,
                                  dnnl->minor, dnnl->patch, sqlite3_libversion(),
                                  FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100),
                      ""});
}

void check_variables(Findings& findings) {
  constexpr std::array kForced{"OPENBLAS_CORETYPE", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA",
                               "MKL_ENABLE_INSTRUCTIONS"};
  for (const char* name : kForced) {
    if (const char* value = std::getenv(name)) {
      findings.push_back({name, value,
                          fmt::format("it may bar the fast instructions of this processor; "
                                      "unless you mean it: unset {}",
                                      name)});
    }
  }
}

void check_profilers(Findings& findings) {
  for (const char* tool : {"nsys", "ncu"}) {
    const auto found = find_nsight(tool);
    findings.push_back(
        {tool, found ? found->string() : "not found; only sala profile --nsight needs it", ""});
  }
}

void check_data(Findings& findings) {
  try {
    const fs::path data = data_dir();
    findings.push_back({"data", fs::absolute(data).lexically_normal().string(), ""});
    for (const char* name : {"needle-hybrid", "needle-full"}) {
      const fs::path folder = data / "models" / name;
      const bool is_there = fs::exists(folder / "config.json");
      findings.push_back({name, is_there ? "found" : "missing",
                          is_there ? ""
                                   : fmt::format("{} has no config.json; check out data/ again",
                                                 folder.string())});
    }
  } catch (const Error& error) {
    findings.push_back({"data", "missing", error.what()});
  }
}

void check_database(const std::string& path, Findings& findings) {
  const fs::path parent = fs::absolute(path).parent_path();
  struct statfs info{};
  if (statfs(parent.c_str(), &info) != 0) {
    findings.push_back({"database", parent.string() + " is missing",
                        "make the folder or name another file with --db"});
    return;
  }
  const auto magic = static_cast<std::int64_t>(static_cast<std::uint32_t>(info.f_type));
  const auto free_bytes = static_cast<std::int64_t>(info.f_bavail) * info.f_bsize;
  const char* network = network_file_system(magic);
  std::string fix;
  if (network != nullptr) fix = "a network file system can damage it; put --db on a local disk";
  if (fix.empty() && free_bytes < 100 << 20) fix = "less than 100 MiB is free; make room";
  if (fix.empty() && fs::exists(path)) {
    try {
      open_for_reading(path);
    } catch (const Error& error) {
      fix = error.what();
    }
  }
  findings.push_back(
      {"database",
       fmt::format("{}: {} file system, {} free, {}", path, network != nullptr ? network : "local",
                   format_bytes(free_bytes), fs::exists(path) ? "exists" : "not there yet"),
       fix});
}

int doctor(const DoctorFlags& flags) {
  const EnvironmentRow environment = capture_environment();
  Findings findings;
  findings.push_back({"sala", build_info().version_line(), ""});
  findings.push_back({"build", build_info().compiler + ", " + build_info().flags, ""});
  findings.push_back({"system", environment.os + ", " + environment.kernel, ""});
  check_processor(environment, findings);
  check_devices(findings);
  check_libraries(findings);
  check_variables(findings);
  check_profilers(findings);
  check_data(findings);
  check_database(flags.db, findings);

  if (flags.json) {
    auto json = nlohmann::ordered_json::array();
    for (const Finding& finding : findings) {
      json.push_back({{"name", finding.name}, {"value", finding.value}, {"fix", finding.fix}});
    }
    fmt::print("{}\n", json.dump(2));
    return 0;
  }
  for (const Finding& finding : findings) {
    fmt::print("{:<20} {}\n", finding.name, finding.value);
    if (!finding.fix.empty()) fmt::print("{:<20}   -> {}\n", "", finding.fix);
  }
  return 0;
}

}  // namespace

Action setup_doctor(CLI::App& app) {
  const auto flags = std::make_shared<DoctorFlags>();
  app.add_option("--db", flags->db, "Results database to look at")->capture_default_str();
  app.add_flag("--json", flags->json, "Print a JSON array of {name, value, fix}");
  return [flags] { return doctor(*flags); };
}

}  // namespace sala
