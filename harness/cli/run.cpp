// sala run: a suite over lengths with a model and a baseline, every sample stored in a database.
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/base/error.h"
#include "harness/cli/command.h"
#include "harness/cli/options.h"
#include "harness/compare/roofline.h"
#include "harness/plan/plan.h"
#include "harness/plan/sizes.h"
#include "harness/runner/interrupt.h"
#include "harness/runner/manifest.h"
#include "harness/runner/runner.h"
#include "harness/runner/summary.h"

namespace sala {
namespace {

constexpr int kExitIncomplete = 3;
constexpr const char* kDefaultModel = "needle-hybrid";
constexpr const char* kDefaultBaseline = "needle-full";

struct RunFlags {
  EngineFlags engine;
  std::string suite = "quick";
  std::string model;
  std::string baseline;
  std::string lengths;
  std::vector<std::string> tasks;
  std::optional<std::int64_t> samples;
  std::optional<std::uint64_t> seed;
  std::vector<std::string> data;
  std::string mode;
  std::string chat_template;
  std::string timing = "stage";
  std::string db = "sala.db";
  bool dry_run = false;
  bool json = false;
  bool no_progress = false;
};

Suite choose_suite(const RunFlags& flags) {
  Suite suite = load_suite(flags.suite);
  SuiteOverrides overrides{.tasks = flags.tasks,
                           .lengths = {},
                           .samples = flags.samples,
                           .seed = flags.seed,
                           .mode = flags.mode,
                           .data = flags.data,
                           .chat_template = flags.chat_template};
  if (!flags.lengths.empty()) overrides.lengths = parse_sizes(flags.lengths);
  override_suite(suite, overrides);
  return suite;
}

/// Sides that do not fit into memory together take turns.
void add_side(std::vector<Side>& sides, const char* role, EngineOptions options) {
  std::unique_ptr<Engine> engine;
  try {
    engine = make_engine(options);
  } catch (const OutOfMemory&) {
    if (sides.empty()) throw;
    for (const Side& other : sides) other.engine->unload();
    engine = make_engine(options);
  }
  sides.push_back({.role = role, .options = std::move(options), .engine = std::move(engine)});
}

/// The model and, unless there is none, its baseline.
std::vector<Side> load_sides(const RunFlags& flags) {
  std::vector<Side> sides;
  const auto options = [&](const std::string& name, const char* attention) {
    EngineOptions of_side = flags.engine.options(name, attention);
    of_side.load = !flags.dry_run;
    of_side.time_stages = flags.timing == "stage";
    return of_side;
  };
  const std::string model = flags.model.empty() ? kDefaultModel : flags.model;
  add_side(sides, "model", options(model, "model"));

  std::string baseline = flags.baseline;
  if (baseline.empty()) baseline = flags.model.empty() ? kDefaultBaseline : "dense";
  if (baseline == "none") return sides;
  if (baseline != "dense") {
    add_side(sides, "baseline", options(baseline, "model"));
  } else if (sides[0].engine->info().mode != "full") {
    add_side(sides, "baseline", options(model, "dense"));
  } else if (flags.baseline.empty()) {
    fmt::print(stderr, "note: every layer of {} is dense already, so it has no dense baseline\n",
               model);
  } else {
    throw Error("--baseline", "every layer of {} is dense already; try another model or none",
                model);
  }
  return sides;
}

/// The stages of the longest speed cell of each side, against the ceilings of its device.
void print_stages(const Results& results) {
  std::map<std::string, const CellRecord*> longest;
  for (const CellRecord& cell : results.cells) {
    if (cell.kind != "perf" || cell.status != "ok") continue;
    const CellRecord*& known = longest[nlohmann::json::parse(cell.params).value("side", "")];
    if (known == nullptr || cell.context_len > known->context_len) known = &cell;
  }
  for (const auto& [side, cell] : longest) {
    const std::string table = stage_table(*cell);
    if (!table.empty()) {
      fmt::print("\n{} at {}\n{}", side, format_size(cell->context_len), table);
    }
  }
}

/// Prints what the database has of a sweep and returns the number of its stored samples.
std::int64_t print_results(const RunFlags& flags, const std::string& sweep_uid) {
  const Results results = ResultReader(flags.db).results({sweep_uid});
  const auto rows = summarize(results);
  const auto pair = summarize_pair(results);
  fmt::print(
      "{}", flags.json ? summary_json(rows, pair, sweep_uid, flags.db) : summary_table(rows, pair));
  if (!flags.json) print_stages(results);
  std::int64_t n_samples = 0;
  for (const SummaryRow& row : rows) n_samples += row.n;
  return n_samples;
}

int run(const RunFlags& flags) {
  // A limit on file sizes then reads like a full disk instead of ending the process.
  std::signal(SIGXFSZ, SIG_IGN);
  InterruptWatch interrupts;
  const Suite suite = choose_suite(flags);
  const std::vector<Side> sides = load_sides(flags);
  EnvironmentRow environment = capture_environment();
  for (const Side& side : sides) {
    const DeviceInfo& device = side.engine->info().device_info;
    if (!device.uuid.empty()) add_gpu(environment, device);
  }
  const Plan plan = make_plan(suite, sides, environment, make_task);
  if (flags.dry_run) {
    fmt::print("{}", flags.json ? plan_json(plan, sides) : plan_table(plan, sides));
    return 0;
  }

  std::vector<CellRow> cells;
  cells.reserve(plan.cells.size());
  for (const PlannedCell& cell : plan.cells) cells.push_back(cell.row);
  ResultWriter writer(flags.db, command_line());
  writer.open_sweep(plan.sweep, environment, cells);
  Progress progress(!flags.no_progress);
  interrupts.watch(writer, [&](const std::string& signal) {
    const std::int64_t n_stored = print_results(flags, writer.sweep_uid());
    std::int64_t n_planned = 0;
    for (const PlannedCell& cell : plan.cells) n_planned += cell.samples;
    fmt::print(
        stderr,
        "\ninterrupted by {}: {} of {} samples are stored in {}; give the same command again "
        "to run the others\n",
        signal, n_stored, n_planned, flags.db);
  });
  try {
    run_plan(plan, sides, make_task, writer, progress);
  } catch (const Error& error) {
    interrupts.stop();
    progress.finish();
    fmt::print(stderr, "error: {}\n", error.what());
    return kExitIncomplete;
  }
  interrupts.stop();

  print_results(flags, writer.sweep_uid());
  if (!flags.no_progress) {
    fmt::print(stderr, "every sample is in {}; see it with: sala report --db {} -o report.html\n",
               flags.db, flags.db);
  }
  return 0;
}

}  // namespace

Action setup_run(CLI::App& app) {
  const auto flags = std::make_shared<RunFlags>();
  app.add_option("--suite", flags->suite, "quick, needle, ruler, speed or a file ending in .toml")
      ->capture_default_str();
  app.add_option("--model", flags->model,
                 fmt::format("Model folder or name; default: {}", kDefaultModel));
  app.add_option("--baseline", flags->baseline,
                 fmt::format("Model folder or name; dense: the same weights with dense layers in "
                             "place of sparse ones; or none. Default: {} beside the default model, "
                             "dense beside any other",
                             kDefaultBaseline));
  app.add_option("--lengths", flags->lengths, "Tokens of prompt and answer, e.g. 1k,4k-64k*4");
  app.add_option("--samples", flags->samples, "Samples of every task at every length");
  app.add_option("--seed", flags->seed, "Seed of the prompts");
  app.add_option("--tasks", flags->tasks, "Task names, comma-separated")->delimiter(',');
  app.add_option("--data", flags->data,
                 "Folder of benchmark data (docs/ruler.md), or a text file to hide needles in; may "
                 "be given several times, the first that has a file wins");
  app.add_option("--mode", flags->mode,
                 "strict, or official: the published code's prompts, mistakes included");
  app.add_option("--chat-template", flags->chat_template, kChatTemplateHelp);
  app.add_option("--timing", flags->timing,
                 "stage: the time of every stage too; step: of requests and tokens alone")
      ->check(CLI::IsMember({"stage", "step"}))
      ->capture_default_str();
  app.add_option("--db", flags->db, "Results database")->capture_default_str();
  app.add_flag("--dry-run", flags->dry_run, "Print what would run and the memory it needs");
  app.add_flag("--json", flags->json, "Print the result as JSON");
  app.add_flag("--no-progress", flags->no_progress, "No progress on standard error");
  flags->engine.declare(app);
  return [flags] { return run(*flags); };
}

}  // namespace sala
