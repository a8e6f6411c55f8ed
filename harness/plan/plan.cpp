// Expands a suite into cells and computes their keys.
// SPDX-License-Identifier: Apache-2.0
#include "harness/plan/plan.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/sha256.h"
#include "engine/base/splitmix.h"
#include "engine/text/chat_formats.h"
#include "harness/compare/statistics.h"
#include "harness/plan/sizes.h"
#include "harness/runner/guards.h"
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

/// Whether a perf cell reads random ids instead of a text.
bool has_random_prompts(const Side& side) {
  return side.options.random_seed.has_value();
}

Json model_identity(const EngineInfo& info) {
  return {{"dtype", info.dtype},
          {"tokenizer", info.tokenizer_sha256},
          {"weights", info.weights_sha256}};
}

/// What both sides share: two cells with equal work may be compared.
Json shared_params(const Suite& suite, const std::string& data_hash, const SuiteCell& cell,
                   const Side& side) {
  const EngineOptions& options = side.options;
  const EngineInfo& info = side.engine->info();
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
    params["prompt"] = has_random_prompts(side) ? "random ids" : cell.task;
  }
  return params;
}

/// Reports name the device, on which answers do not depend.
Json with_device_name(Json params, const EngineInfo& info) {
  params["device_name"] = info.device_info.name;
  return params;
}

using DataHash = std::function<std::string()>;

/// What a task's samples are made of: its files when it names them all, else all of the data.
std::string source_identity(const std::vector<TaskSource>& sources, const DataHash& all_data) {
  const bool names_all =
      !sources.empty() && std::all_of(sources.begin(), sources.end(),
                                      [](const TaskSource& s) { return !s.sha256.empty(); });
  if (!names_all) return all_data();
  std::string hashes;
  for (const TaskSource& source : sources) hashes += source.name + " " + source.sha256 + "\n";
  return sha256_hex(hashes);
}

CellRow make_row(const Suite& suite, const SuiteCell& cell, const Side& side, const Side& subject,
                 const EnvironmentRow& build, const Task& task, const DataHash& all_data) {
  const EngineInfo& info = side.engine->info();
  const TaskInfo& task_info = task.info();
  const std::vector<TaskSource> sources = task.sources(task_options(suite, info, cell.length));
  const std::string data_hash = source_identity(sources, all_data);
  Json task_params{
      {"chat_template", suite.chat_template}, {"data", data_hash}, {"mode", suite.mode}};
  for (const TaskSource& source : sources) {
    task_params["sources"][source.name] = source.sha256;
    if (source.standin) task_params["label"] = "standin";
  }
  const Json task_identity{{"family", task_info.name},
                           {"params", task_params},
                           {"scorer", task_info.scorer},
                           {"scorer_version", find_scorer(task_info.scorer).version},
                           {"version", task_info.version}};
  const Json shared = shared_params(suite, data_hash, cell, side);
  // The baseline carries the subject's model, so that the two sides of a sweep pair.
  const Json compare{{"backend", backend_of(info)},
                     {"batch", 1},
                     {"length", cell.length},
                     {"model", model_identity(subject.engine->info())},
                     {"params", shared},
                     {"task", task_identity}};
  Json params = shared;
  params["chat_template"] = chat_template_text(choose_chat_template(suite.chat_template, info));
  params["chunk"] = info.chunk;
  if (!side.options.time_stages) params["timing"] = "step";
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
              .params = with_device_name(params, info).dump(),
              .est_bytes = sum_bytes(side.engine->plan_memory(cell.length))};
  if (suite.kind != "perf") {
    row.task = TaskRow{.family = task_info.name,
                       .version = task_info.version,
                       .scorer = task_info.scorer,
                       .scorer_version = find_scorer(task_info.scorer).version,
                       .params = task_params.dump()};
  }
  return row;
}

/// A benchmark of fixed rows may have fewer than were asked for.
void limit_samples(const Suite& suite, const Task& task, const std::vector<Side>& sides,
                   SuiteCell& cell) {
  if (suite.kind == "perf") return;
  for (const Side& side : sides) {
    const std::int64_t count =
        task.count(task_options(suite, side.engine->info(), cell.length), side.engine->tokenizer());
    if (count < 1) {
      throw Error("--lengths", "the data of {} has no sample of length {}", cell.task,
                  format_size(cell.length));
    }
    cell.samples = std::min(cell.samples, count);
  }
}

/// Makes and checks the first prompt of a task's shortest cell, so that a length that cannot work
/// is refused before anything is stored. The record says what the prompt looked like.
Json check_shortest(const Plan& plan, const Task& task, const std::vector<Side>& sides) {
  const PlannedCell* shortest = nullptr;
  for (const PlannedCell& cell : plan.cells) {
    if (cell.task == task.info().name && (shortest == nullptr || cell.length < shortest->length)) {
      shortest = &cell;
    }
  }
  Json traces = Json::array();
  for (const Side& side : sides) {
    const TaskOptions options = task_options(plan.suite, side.engine->info(), shortest->length);
    const bool is_perf = plan.suite.kind == "perf";
    const Tokenizer& tokenizer = side.engine->tokenizer();
    const Sample sample = is_perf ? speed_sample(side, task, options, plan.suite.new_tokens)
                                  : task.make(options, 0, tokenizer);
    if (!is_perf || !has_random_prompts(side)) {
      check_prompt(task.info(), sample, token_limit(plan.suite, options.length), tokenizer);
    }
    const PromptTrace trace = trace_prompt(sample);
    traces.push_back({{"first_ids", trace.first_ids},
                      {"ids_sha256", trace.ids_sha256},
                      {"length", options.length},
                      {"side", side.role},
                      {"tail", trace.tail},
                      {"task", task.info().name}});
  }
  return traces;
}

SweepRow make_sweep(const Plan& plan, const std::vector<Side>& sides, const Json& first_prompts) {
  Json spec{{"chat_template", plan.suite.chat_template},
            {"data", plan.suite.data},
            {"first_prompts", first_prompts},
            {"kind", plan.suite.kind},
            {"mode", plan.suite.mode},
            {"name", plan.suite.name},
            {"seed", plan.suite.seed},
            {"cells", Json::array()},
            {"sides", Json::array()}};
  for (const Side& side : sides) {
    const EngineInfo& info = side.engine->info();
    spec["sides"].push_back(
        {{"attention", side.options.attention},
         {"chat_template", choose_chat_template(plan.suite.chat_template, info)},
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
  return {.name = plan.suite.name,
          .spec = spec.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

std::string path_identity(const std::string& path) {
  namespace fs = std::filesystem;
  if (!fs::exists(path)) {
    throw Error("--data", "'{}' does not exist, expected a text file or a folder of them", path);
  }
  if (!fs::is_directory(path)) return sha256_file(path);
  std::map<std::string, std::string> files;  // by name, so that the order on disk does not matter
  constexpr auto kFollow = fs::directory_options::follow_directory_symlink;
  for (const auto& entry : fs::recursive_directory_iterator(path, kFollow)) {
    if (!entry.is_regular_file()) continue;
    files[fs::relative(entry.path(), path).string()] = sha256_file(entry.path());
  }
  return sha256_hex(Json(files).dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

std::string data_identity(const std::vector<std::string>& paths) {
  if (paths.empty()) return "builtin";
  if (paths.size() == 1) return path_identity(paths.front());
  std::string hashes;
  for (const std::string& path : paths) hashes += path_identity(path);
  return sha256_hex(hashes);
}

Sample speed_sample(const Side& side, const Task& task, const TaskOptions& options,
                    std::int64_t new_tokens) {
  if (options.length <= new_tokens) {
    throw Error("--lengths", "{} is too short for a continuation of {} tokens, expected more",
                options.length, new_tokens);
  }
  TaskOptions shorter = options;
  shorter.length -= new_tokens;
  Sample sample;
  if (has_random_prompts(side)) {
    const auto vocab = static_cast<std::uint64_t>(side.engine->info().vocab_size);
    for (std::int64_t i = 0; i < shorter.length; ++i) {
      const std::uint64_t random = splitmix64(options.seed + static_cast<std::uint64_t>(i));
      sample.prompt_ids.push_back(static_cast<TokenId>(random % vocab));
    }
  } else {
    sample = task.make(shorter, 0, side.engine->tokenizer());
  }
  sample.max_new_tokens = new_tokens;
  return sample;
}

Plan make_plan(const Suite& suite, const std::vector<Side>& sides, const EnvironmentRow& build,
               const TaskFactory& make_task) {
  Plan plan{.suite = suite, .sweep = {}, .cells = {}};
  std::vector<SuiteCell> cells = suite.cells;
  std::stable_sort(cells.begin(), cells.end(),
                   [](const SuiteCell& a, const SuiteCell& b) { return a.length < b.length; });
  std::map<std::string, std::unique_ptr<Task>> tasks;
  std::string hash;
  const DataHash all_data = [&] {
    if (hash.empty()) hash = data_identity(suite.data);
    return hash;
  };
  for (SuiteCell& cell : cells) {
    auto& task = tasks[cell.task];
    if (task == nullptr) task = make_task(cell.task);
    limit_samples(suite, *task, sides, cell);
    for (std::size_t side = 0; side < sides.size(); ++side) {
      plan.cells.push_back(
          {.side = side,
           .task = cell.task,
           .length = cell.length,
           .samples = cell.samples,
           .row = make_row(suite, cell, sides[side], sides[0], build, *task, all_data)});
    }
  }
  Json first_prompts = Json::array();
  for (const auto& [name, task] : tasks) {
    for (const Json& trace : check_shortest(plan, *task, sides)) first_prompts.push_back(trace);
  }
  plan.sweep = make_sweep(plan, sides, first_prompts);
  return plan;
}

namespace {

// Shares of prompts that two models answer differently.
constexpr std::array kDiscordances{0.02, 0.05, 0.10, 0.20};

bool has_comparison(const Plan& plan, const std::vector<Side>& sides) {
  return plan.suite.kind == "accuracy" && sides.size() > 1;
}

bool is_standin(const PlannedCell& cell) {
  return cell.row.task && Json::parse(cell.row.task->params).value("label", "") == "standin";
}

/// Tasks whose prompts are not made of the benchmark's own data.
std::string standin_text(const Plan& plan) {
  std::set<std::string> tasks;
  for (const PlannedCell& cell : plan.cells) {
    if (is_standin(cell)) tasks.insert(cell.task);
  }
  if (tasks.empty()) return "";
  return fmt::format(
      "\nMade with built-in or stand-in data, so not comparable with published scores: {}\n",
      fmt::join(tasks, ", "));
}

/// What all prompts of a length can tell together, a line a length.
std::string power_text(const Plan& plan) {
  std::map<std::int64_t, std::vector<std::int64_t>> samples;  // by length, of each task
  for (const PlannedCell& cell : plan.cells) {
    if (cell.side == 0) samples[cell.length].push_back(cell.samples);
  }
  std::string text =
      "\nSmallest difference that the prompts of a length find (80 % power, 5 % level), in points, "
      "if the two models differ on 2 / 5 / 10 / 20 % of them:\n";
  for (const auto& [length, of_task] : samples) {
    const std::int64_t n = std::accumulate(of_task.begin(), of_task.end(), std::int64_t{0});
    std::vector<std::string> points;
    points.reserve(kDiscordances.size());
    for (const double share : kDiscordances) {
      points.push_back(fmt::format("{:.1f}", 100 * detectable_difference(n, share)));
    }
    const auto n_tasks = static_cast<std::int64_t>(of_task.size());
    const std::int64_t fewest = *std::min_element(of_task.begin(), of_task.end());
    text += fmt::format(
        "{:>7}  {} prompts: {}; the mean over {} tasks is known to \u00b1{:.1f} points at 85.6 %\n",
        format_size(length), n, fmt::join(points, " / "), n_tasks,
        100 * task_mean_half_width(n_tasks, fewest, 0.856));
  }
  return text;
}

}  // namespace

std::string plan_table(const Plan& plan, const std::vector<Side>& sides) {
  std::size_t width = 18;
  for (const PlannedCell& cell : plan.cells) width = std::max(width, cell.task.size());
  std::string text = fmt::format(
      "suite {}, seed {}: {} cells, nothing was run\n\n{:<{}} {:>7} {:>8}  {:<9} {:<20} {:>10}\n",
      plan.suite.name, plan.suite.seed, plan.cells.size(), "task", width, "length", "samples",
      "side", "model", "memory");
  for (const PlannedCell& cell : plan.cells) {
    text += fmt::format("{:<{}} {:>7} {:>8}  {:<9} {:<20} {:>10}\n", cell.task, width,
                        format_size(cell.length), cell.samples, sides[cell.side].role,
                        cell.row.model.name, format_bytes(cell.row.est_bytes));
  }
  text += standin_text(plan);
  return has_comparison(plan, sides) ? text + power_text(plan) : text;
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
                             {"standin", is_standin(cell)},
                             {"task", cell.task}});
    if (!has_comparison(plan, sides)) continue;
    Json& detectable = json["cells"].back()["detectable_difference"];
    for (const double share : kDiscordances) {
      detectable[fmt::format("{:.2f}", share)] = detectable_difference(cell.samples, share);
    }
  }
  return json.dump(2) + "\n";
}

}  // namespace sala
