// Expands a suite into cells and computes their keys.
// SPDX-License-Identifier: Apache-2.0
#include "harness/plan/plan.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/sha256.h"
#include "harness/plan/sizes.h"
#include "harness/scorer.h"

namespace sala {
namespace {

using Json = nlohmann::json;

std::string backend_of(const EngineInfo& info) {
  return info.device.substr(0, info.device.find(':'));
}

std::int64_t sum_bytes(const std::vector<CategoryBytes>& parts) {
  std::int64_t sum = 0;
  for (const CategoryBytes& part : parts) sum += part.bytes;
  return sum;
}

/// Dense layers in place of sparse ones beside linear ones are neither hybrid nor full attention.
std::string mode_of(const Side& side) {
  const std::string& mode = side.engine->info().mode;
  return mode == "hybrid" && side.options.attention == "dense" ? "ablation" : mode;
}

Json model_identity(const EngineInfo& info) {
  return {{"dtype", info.dtype},
          {"tokenizer", info.tokenizer_sha256},
          {"weights", info.weights_sha256}};
}

/// What both sides share: two cells with equal work may be compared.
Json shared_params(const Suite& suite, const std::string& data_hash, const SuiteCell& cell,
                   const EngineOptions& options, const EngineInfo& info) {
  Json params{{"chunk", options.chunk},
              {"data", data_hash},
              {"decoding", "greedy"},
              {"device", backend_of(info)},
              {"memory_limit", options.memory_limit_bytes},
              {"samples", cell.samples},
              {"seed", suite.seed},
              {"set", options.settings},
              {"threads", options.threads}};
  if (suite.kind == "perf") {
    params["decoding"] = "forced";
    params["device_name"] = info.device_info.name;
    params["new_tokens"] = suite.new_tokens;
    params["prompt"] = cell.task;
  }
  return params;
}

CellRow make_row(const Suite& suite, const std::string& data_hash, const SuiteCell& cell,
                 const Side& side, const Side& subject, const EnvironmentRow& build,
                 const Task& task) {
  const EngineInfo& info = side.engine->info();
  const TaskInfo& task_info = task.info();
  const Json task_params{{"data", data_hash}};
  const Json task_identity{{"family", task_info.name},
                           {"params", task_params},
                           {"scorer", task_info.scorer},
                           {"scorer_version", find_scorer(task_info.scorer).version},
                           {"version", task_info.version}};
  const Json shared = shared_params(suite, data_hash, cell, side.options, info);
  // The baseline carries the subject's model, so that the two sides of a sweep pair.
  const Json compare{{"backend", backend_of(info)},
                     {"batch", 1},
                     {"length", cell.length},
                     {"model", model_identity(subject.engine->info())},
                     {"params", shared},
                     {"task", task_identity}};
  Json params = shared;
  params["chunk"] = info.chunk;
  params["settings"] = info.settings;
  params["side"] = side.role;
  Json identity = compare;
  identity["build"] = {build.git_commit, build.diff_sha256, build.compiler, build.flags};
  identity["kind"] = suite.kind;
  identity["mode"] = mode_of(side);
  identity["model"] = model_identity(info);
  identity["params"] = params;

  CellRow row{.cell_key = sha256_hex(identity.dump()),
              .compare_key = sha256_hex(compare.dump()),
              .kind = suite.kind,
              .mode = mode_of(side),
              .backend = backend_of(info),
              .model = {.name = info.name,
                        .weights_sha256 = info.weights_sha256,
                        .tokenizer_sha256 = info.tokenizer_sha256,
                        .dtype = info.dtype,
                        .layer_pattern = info.layer_pattern,
                        .config = info.config_json},
              .task = std::nullopt,
              .context_len = cell.length,
              .params = params.dump(),
              .est_bytes = sum_bytes(side.engine->plan_memory(cell.length))};
  if (suite.kind == "accuracy") {
    row.task = TaskRow{.family = task_info.name,
                       .version = task_info.version,
                       .scorer = task_info.scorer,
                       .scorer_version = find_scorer(task_info.scorer).version,
                       .params = task_params.dump()};
  }
  return row;
}

/// Makes the first prompt of the shortest cell, so that a length that cannot work is refused before
/// anything is stored.
void check_shortest(const Plan& plan, const Task& task, const std::vector<Side>& sides) {
  const PlannedCell* shortest = nullptr;
  for (const PlannedCell& cell : plan.cells) {
    if (cell.task == task.info().name && (shortest == nullptr || cell.length < shortest->length)) {
      shortest = &cell;
    }
  }
  const TaskOptions options{.length = shortest->length, .seed = plan.suite.seed, .data = plan.data};
  for (const Side& side : sides) {
    if (plan.suite.kind == "perf") {
      speed_sample(task, options, plan.suite.new_tokens, side.engine->tokenizer());
    } else {
      task.make(options, 0, side.engine->tokenizer());
    }
  }
}

SweepRow make_sweep(const Plan& plan, const std::vector<Side>& sides) {
  Json spec{{"data", plan.data},       {"kind", plan.suite.kind}, {"name", plan.suite.name},
            {"seed", plan.suite.seed}, {"cells", Json::array()},  {"sides", Json::array()}};
  for (const Side& side : sides) {
    const EngineInfo& info = side.engine->info();
    spec["sides"].push_back({{"attention", side.options.attention},
                             {"device", info.device},
                             {"mode", mode_of(side)},
                             {"model", model_identity(info)},
                             {"name", info.name},
                             {"path", side.options.model.string()},
                             {"role", side.role},
                             {"settings", info.settings}});
  }
  for (const PlannedCell& cell : plan.cells) {
    spec["cells"].push_back({{"key", cell.row.cell_key},
                             {"length", cell.length},
                             {"samples", cell.samples},
                             {"side", sides[cell.side].role},
                             {"task", cell.task}});
  }
  return {.name = plan.suite.name, .spec = spec.dump()};
}

}  // namespace

std::string data_identity(const std::string& path) {
  namespace fs = std::filesystem;
  if (path.empty()) return "builtin";
  if (!fs::exists(path)) {
    throw Error("--data", "'{}' does not exist, expected a text file or a folder of them", path);
  }
  if (!fs::is_directory(path)) return sha256_file(path);
  std::map<std::string, std::string> files;  // by name, so that the order on disk does not matter
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    if (!entry.is_regular_file()) continue;
    files[fs::relative(entry.path(), path).string()] = sha256_file(entry.path());
  }
  return sha256_hex(Json(files).dump(-1, ' ', false, Json::error_handler_t::replace));
}

Sample speed_sample(const Task& task, const TaskOptions& options, std::int64_t new_tokens,
                    const Tokenizer& tokenizer) {
  if (options.length <= new_tokens) {
    throw Error("--lengths", "{} is too short for a continuation of {} tokens, expected more",
                options.length, new_tokens);
  }
  TaskOptions shorter = options;
  shorter.length -= new_tokens;
  Sample sample = task.make(shorter, 0, tokenizer);
  sample.max_new_tokens = new_tokens;
  return sample;
}

Plan make_plan(const Suite& suite, const std::string& data, const std::vector<Side>& sides,
               const EnvironmentRow& build, const TaskFactory& make_task) {
  Plan plan{.suite = suite, .data = data, .sweep = {}, .cells = {}};
  const std::string data_hash = data_identity(data);
  std::vector<SuiteCell> cells = suite.cells;
  std::stable_sort(cells.begin(), cells.end(),
                   [](const SuiteCell& a, const SuiteCell& b) { return a.length < b.length; });
  std::map<std::string, std::unique_ptr<Task>> tasks;
  for (const SuiteCell& cell : cells) {
    auto& task = tasks[cell.task];
    if (task == nullptr) task = make_task(cell.task);
    for (std::size_t side = 0; side < sides.size(); ++side) {
      plan.cells.push_back(
          {.side = side,
           .task = cell.task,
           .length = cell.length,
           .samples = cell.samples,
           .row = make_row(suite, data_hash, cell, sides[side], sides[0], build, *task)});
    }
  }
  for (const auto& [name, task] : tasks) check_shortest(plan, *task, sides);
  plan.sweep = make_sweep(plan, sides);
  return plan;
}

std::string plan_table(const Plan& plan, const std::vector<Side>& sides) {
  std::string text = fmt::format(
      "suite {}, seed {}: {} cells, nothing was run\n\n{:<18} {:>7} {:>8}  {:<9} {:<20} {:>10}\n",
      plan.suite.name, plan.suite.seed, plan.cells.size(), "task", "length", "samples", "side",
      "model", "memory");
  for (const PlannedCell& cell : plan.cells) {
    text += fmt::format("{:<18} {:>7} {:>8}  {:<9} {:<20} {:>10}\n", cell.task,
                        format_size(cell.length), cell.samples, sides[cell.side].role,
                        cell.row.model.name, format_bytes(cell.row.est_bytes));
  }
  return text;
}

std::string plan_json(const Plan& plan, const std::vector<Side>& sides) {
  Json json{{"suite", plan.suite.name},
            {"kind", plan.suite.kind},
            {"seed", plan.suite.seed},
            {"cells", Json::array()}};
  for (const PlannedCell& cell : plan.cells) {
    json["cells"].push_back({{"cell_key", cell.row.cell_key},
                             {"est_bytes", cell.row.est_bytes},
                             {"length", cell.length},
                             {"mode", cell.row.mode},
                             {"model", cell.row.model.name},
                             {"samples", cell.samples},
                             {"side", sides[cell.side].role},
                             {"task", cell.task}});
  }
  return json.dump(2) + "\n";
}

}  // namespace sala
