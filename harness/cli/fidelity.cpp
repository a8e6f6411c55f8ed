// sala fidelity: how near a block-sparse model stays to its own weights with dense layers.
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "engine/base/error.h"
#include "harness/cli/command.h"
#include "harness/cli/fidelity_text.h"
#include "harness/cli/options.h"
#include "harness/fidelity/activity.h"
#include "harness/fidelity/fidelity_runner.h"
#include "harness/fidelity/self_test.h"
#include "harness/plan/sizes.h"
#include "harness/runner/interrupt.h"
#include "harness/runner/manifest.h"
#include "harness/store/process.h"

namespace sala {
namespace {

constexpr int kExitIncomplete = 3;
constexpr std::int64_t kMostSelfTestTokens = 2048;

struct FidelityFlags {
  EngineFlags engine;
  std::string model;
  std::string suite;
  std::vector<std::string> tasks;
  std::string lengths;
  std::optional<std::int64_t> samples;
  std::optional<std::uint64_t> seed;
  std::vector<std::string> data;
  std::string chat_template;
  std::string db = "sala.db";
  bool json = false;
  bool no_progress = false;
};

Suite choose_suite(const FidelityFlags& flags) {
  Suite suite;
  suite.name = "fidelity";
  suite.cells = {{"niah_single_2", 4 << 10, 5}, {"niah_single_2", 16 << 10, 5}};
  if (!flags.suite.empty()) suite = load_suite(flags.suite);
  if (suite.kind != "accuracy") {
    throw Error("--suite", "'{}' measures speed and has no answers; name one with tasks",
                flags.suite);
  }
  suite.kind = "fidelity";
  SuiteOverrides overrides{.tasks = flags.tasks,
                           .lengths = {},
                           .samples = flags.samples,
                           .seed = flags.seed,
                           .data = flags.data,
                           .chat_template = flags.chat_template};
  if (!flags.lengths.empty()) overrides.lengths = parse_sizes(flags.lengths);
  override_suite(suite, overrides);
  return suite;
}

/// Weights follow with the first request, when it is known which engine has to be there.
std::unique_ptr<Engine> make_idle_engine(EngineOptions options) {
  options.load = false;
  options.time_stages = false;
  return make_engine(options);
}

Sample first_sample(const Plan& plan, const PlannedCell& cell, const Engine& engine) {
  const TaskOptions options = task_options(plan.suite, engine.info(), cell.length);
  return make_task(cell.task)->make(options, 0, engine.tokenizer());
}

/// Throws Error when a task has no right answer.
void check_answers(const Plan& plan, const Engine& engine) {
  std::set<std::string> known;
  for (const PlannedCell& cell : plan.cells) {
    if (!known.insert(cell.task).second) continue;
    gold_tokens(first_sample(plan, cell, engine), make_task(cell.task)->info(), engine.tokenizer());
  }
}

/// The beginning of the plan's first prompt, as far as a query may read all of it.
SelfTest test_sparse_path(const FidelityFlags& flags, const Plan& plan, const Side& model,
                          Engine& dense) {
  std::vector<TokenId> tokens = first_sample(plan, plan.cells.front(), *model.engine).prompt_ids;
  const std::int64_t most =
      std::min(selection_rule(model.engine->info()).budget, kMostSelfTestTokens);
  tokens.resize(std::min(tokens.size(), static_cast<std::size_t>(most)));
  const auto sparse = make_idle_engine(always_sparse(model.options));
  SelfTest test = run_self_test(*sparse, dense, tokens);
  if (!flags.json) fmt::print("{}", self_test_text(test));
  return test;
}

/// Every call is a sweep of its own: fidelity is measured anew, not resumed.
SweepRow make_sweep(const Plan& plan) {
  nlohmann::json spec = nlohmann::json::parse(plan.sweep.spec);
  spec["started_us"] = now_us();
  return {.name = plan.sweep.name, .spec = spec.dump()};
}

void print_results(const FidelityFlags& flags, const SelfTest& test, const std::string& sweep) {
  const Results results = ResultReader(flags.db).results({sweep});
  fmt::print("{}",
             flags.json ? fidelity_json(test, &results, flags.db) : "\n" + fidelity_text(results));
}

int fidelity(const FidelityFlags& flags) {
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes then reads like a full disk
  InterruptWatch interrupts;
  const Suite suite = choose_suite(flags);
  std::vector<Side> sides;
  EngineOptions options = flags.engine.options(flags.model, "model");
  options.time_stages = false;
  sides.push_back({.role = "model", .options = options, .engine = make_idle_engine(options)});
  const Side& model = sides.front();
  const EngineInfo& info = model.engine->info();
  selection_rule(info);  // refuses a model without anything to measure
  const auto dense = make_idle_engine(flags.engine.options(flags.model, "dense"));

  EnvironmentRow environment = capture_environment();
  if (!info.device_info.uuid.empty()) add_gpu(environment, info.device_info);
  const Plan plan = make_plan(suite, sides, environment, make_task);
  check_answers(plan, *model.engine);
  const SelfTest test = test_sparse_path(flags, plan, model, *dense);
  if (!test.passed) {
    if (flags.json) fmt::print("{}", fidelity_json(test, nullptr, flags.db));
    fmt::print(stderr, "error: [self-test] {}; nothing was measured\n", test.reason);
    return kExitIncomplete;
  }

  std::vector<CellRow> cells;
  cells.reserve(plan.cells.size());
  for (const PlannedCell& cell : plan.cells) cells.push_back(cell.row);
  ResultWriter writer(flags.db, command_line());
  writer.open_sweep(make_sweep(plan), environment, cells);
  Progress progress(!flags.no_progress);
  interrupts.watch(writer, [&](const std::string& signal) {
    fmt::print(stderr,
               "\ninterrupted by {}: the cell in progress is killed, those before it are "
               "stored in {}\n",
               signal, flags.db);
  });
  const std::int64_t n_failed = run_fidelity(plan, model, *dense, make_task, writer, progress);
  interrupts.stop();
  print_results(flags, test, writer.sweep_uid());
  if (n_failed == 0) return 0;
  fmt::print(stderr, "error: {} of {} cells have no result; the reasons stand in {}\n", n_failed,
             plan.cells.size(), flags.db);
  return kExitIncomplete;
}

}  // namespace

Action setup_fidelity(CLI::App& app) {
  const auto flags = std::make_shared<FidelityFlags>();
  app.add_option("--model", flags->model, "Folder or name of a model with block-sparse layers")
      ->required();
  app.add_option("--task,--tasks", flags->tasks,
                 "Task names, comma-separated; default: niah_single_2")
      ->delimiter(',');
  app.add_option("--suite", flags->suite,
                 "Tasks, lengths and samples of a suite, as for sala run, instead");
  app.add_option("--lengths", flags->lengths,
                 "Tokens of prompt and answer, e.g. 4k,16k-64k*2; default: 4k,16k");
  app.add_option("--samples", flags->samples, "Prompts of every task at every length");
  app.add_option("--seed", flags->seed, "Seed of the prompts");
  app.add_option("--data", flags->data,
                 "Folder of benchmark data (docs/ruler.md), or a text file to hide needles in");
  app.add_option("--chat-template", flags->chat_template, kChatTemplateHelp);
  app.add_option("--db", flags->db, "Results database")->capture_default_str();
  app.add_flag("--json", flags->json, "Print the result as JSON, by layer and KV head too");
  app.add_flag("--no-progress", flags->no_progress, "No progress on standard error");
  flags->engine.declare(app);
  return [flags] { return fidelity(*flags); };
}

}  // namespace sala
