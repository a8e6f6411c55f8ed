// A profiled request as a cell of a sweep of its own.
// SPDX-License-Identifier: Apache-2.0
#include "harness/profile/profile_cell.h"

#include <nlohmann/json.hpp>

#include "engine/base/sha256.h"
#include "harness/runner/manifest.h"
#include "harness/runner/measure.h"
#include "harness/store/process.h"

namespace sala {
namespace {

using Json = nlohmann::json;

CellRow make_cell(const ProfiledRequest& profiled, const EngineInfo& info,
                  const EngineOptions& options, const EnvironmentRow& build) {
  const bool is_ablation = info.mode == "hybrid" && options.attention == "dense";
  const Json model{{"dtype", info.dtype},
                   {"tokenizer", info.tokenizer_sha256},
                   {"weights", info.weights_sha256}};
  const Json params{{"chunk", info.chunk},
                    {"cold", profiled.cold},
                    {"decoding", "forced"},
                    {"device_name", info.device_info.name},
                    {"memory_limit", options.memory_limit_bytes},
                    {"new_tokens", profiled.steps + 1},
                    {"profiler", profiled.profiler},
                    {"prompt", "random ids"},
                    {"settings", info.settings},
                    {"threads", options.threads}};
  CellRow row;
  row.kind = "profile";
  row.mode = is_ablation ? "ablation" : info.mode;
  row.backend = info.device == "cpu" ? "cpu" : "cuda";
  row.model = {.name = info.name,
               .weights_sha256 = info.weights_sha256,
               .tokenizer_sha256 = info.tokenizer_sha256,
               .dtype = info.dtype,
               .layer_pattern = info.layer_pattern,
               .config = info.config_json};
  row.context_len = profiled.length;
  row.params = params.dump();
  Json key{
      {"backend", row.backend}, {"length", row.context_len}, {"model", model}, {"params", params}};
  row.compare_key = sha256_hex(key.dump());
  key["build"] = {build.git_commit, build.diff_sha256, build.compiler, build.flags};
  key["kind"] = row.kind;
  key["mode"] = row.mode;
  row.cell_key = sha256_hex(key.dump());
  return row;
}

}  // namespace

void store_profile(const ProfiledRequest& profiled, const Engine& engine,
                   const EngineOptions& options, ResultWriter& writer) {
  const EngineInfo& info = engine.info();
  EnvironmentRow environment = capture_environment();
  if (!info.device_info.uuid.empty()) add_gpu(environment, info.device_info);
  const CellRow cell = make_cell(profiled, info, options, environment);
  const Json spec{{"cell", cell.cell_key}, {"started_us", now_us()}};
  writer.open_sweep({.name = "profile", .spec = spec.dump()}, environment, {cell});
  writer.begin_run(0);
  const Output& output = profiled.output;
  writer.append({.answer = std::nullopt,
                 .values = make_values(output, profiled.length, info.chunk, 0),
                 .memory = output.memory,
                 .peak_bytes = output.peak_bytes,
                 .route = output.route});
  writer.end_run({.status = "ok", .reason = "", .grade = "probe", .oom = std::nullopt}, {});
}

}  // namespace sala
