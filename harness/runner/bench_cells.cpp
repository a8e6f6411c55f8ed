// Benchmarks of kernels as cells of a sweep, stored, reported and compared like others.
// SPDX-License-Identifier: Apache-2.0
#include "harness/runner/bench_cells.h"

#include <nlohmann/json.hpp>

#include "engine/base/sha256.h"
#include "harness/plan/suite.h"
#include "harness/store/process.h"

namespace sala {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kShortLength = 1024;  // repetitions of a short cell make it `measured`

/// The kind of attention that a benchmark belongs to, as the mode of a model made of it.
const char* mode_of(const std::string& name) {
  if (name.starts_with("infllm_v2")) return "sparse";
  if (name.starts_with("lightning")) return "linear";
  return "full";
}

SampleRow make_repetition(const KernelTimes& kernel, std::size_t i) {
  const auto rep = static_cast<std::int64_t>(i);
  SampleRow row;
  row.values.push_back({.metric = "kernel_ns", .rep = rep, .value = 1e9 * kernel.seconds[i]});
  if (kernel.flops > 0) {
    row.values.push_back({.metric = "kernel_flops", .rep = rep, .value = kernel.flops});
  }
  if (kernel.bytes > 0) {
    row.values.push_back({.metric = "kernel_bytes", .rep = rep, .value = kernel.bytes});
  }
  return row;
}

}  // namespace

CellRow make_bench_cell(const std::string& name, const DeviceInfo& device, const std::string& dtype,
                        const EnvironmentRow& build) {
  const Json params{{"bench", name},
                    {"device_name", device.name},
                    {"side", "model"},
                    {"threads", device.threads}};
  Json key{{"dtype", dtype}, {"params", params}};
  CellRow row;
  row.compare_key = sha256_hex(key.dump());
  key["build"] = {build.git_commit, build.diff_sha256};
  row.cell_key = sha256_hex(key.dump());
  row.kind = "perf";
  row.mode = mode_of(name);
  row.backend = device.id == "cpu" ? "cpu" : "cuda";
  row.model = {.name = "kernels",
               .weights_sha256 = "kernels",
               .tokenizer_sha256 = "",
               .dtype = dtype,
               .layer_pattern = {},
               .config = "{}"};
  row.params = params.dump();
  return row;
}

void store_benchmarks(const std::vector<KernelTimes>& kernels, const DeviceInfo& device,
                      const std::string& dtype, const Ceilings& ceilings,
                      const EnvironmentRow& environment, ResultWriter& writer) {
  std::vector<CellRow> cells;
  cells.reserve(kernels.size());
  for (const KernelTimes& kernel : kernels) {
    cells.push_back(make_bench_cell(kernel.name, device, dtype, environment));
  }
  const Json spec{{"bench", device.name}, {"started_us", now_us()}};
  writer.open_sweep({.name = "bench", .spec = spec.dump()}, environment, cells);
  for (std::size_t i = 0; i < kernels.size(); ++i) {
    const KernelTimes& kernel = kernels[i];
    writer.begin_run(i);
    for (std::size_t rep = 0; rep < kernel.seconds.size(); ++rep) {
      writer.append(make_repetition(kernel, rep));
    }
    const auto n = static_cast<std::int64_t>(kernel.seconds.size());
    writer.end_run({.status = "ok",
                    .reason = "",
                    .grade = n >= minimum_repetitions(kShortLength) ? "measured" : "probe",
                    .oom = std::nullopt,
                    .ceilings = ceilings},
                   {});
  }
}

}  // namespace sala
