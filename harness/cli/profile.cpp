// sala profile: one prefill and some decode steps, stage by stage.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>

#include "engine/base/error.h"
#include "harness/cli/command.h"
#include "harness/cli/options.h"
#include "harness/cli/output_file.h"
#include "harness/cli/profile_nsight.h"
#include "harness/plan/sizes.h"
#include "harness/profile/chrome_trace.h"
#include "harness/profile/profile_cell.h"
#include "harness/profile/stage_table.h"
#include "harness/runner/manifest.h"
#include "harness/runner/measure.h"
#include "harness/store/writer.h"

namespace sala {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::int64_t kMostTokens = 16 << 20;  // far beyond what any device holds

struct ProfileFlags {
  ModelFlags model;
  std::string length;
  std::int64_t steps = 8;
  std::string trace;
  bool json = false;
  bool cold = false;
  std::string db;
  NsightFlags nsight;
};

/// Random tokens, and as many forced steps after the first output.
Request make_profile_request(std::int64_t length, std::int64_t steps, std::int64_t vocab) {
  std::mt19937_64 random(1);
  const auto tokens = [&](std::int64_t n) {
    std::vector<TokenId> ids(static_cast<std::size_t>(n));
    for (TokenId& id : ids) {
      id = static_cast<TokenId>(random() % static_cast<std::uint64_t>(vocab));
    }
    return ids;
  };
  Request request;
  request.prompt = tokens(length);
  request.max_new_tokens = steps + 1;
  request.forced = tokens(steps + 1);
  return request;
}

/// Pays what a length costs once, and records no step: those of the request are then seen by stage
/// as far as they can be.
void rehearse(const Request& request, Engine& engine) {
  Request rehearsal = make_rehearsal(request, engine.info().chunk);
  rehearsal.max_new_tokens = 1;
  rehearsal.forced.resize(1);
  engine.run(rehearsal);
}

/// Before minutes are spent on what could not be written.
void check_writable(const fs::path& path) {
  if (fs::is_directory(path))
    throw Error("--trace", "'{}' is a folder; name a file", path.string());
  const fs::path folder = fs::absolute(path).parent_path();
  if (access(folder.c_str(), W_OK) != 0) {
    throw Error("--trace", "no file can be made in '{}'; check that the folder exists",
                folder.string());
  }
}

double ms(double ns) {
  return ns / 1e6;
}

Json as_json(const StageTable& table) {
  Json stages = Json::array();
  for (const StageRow& row : table.rows) {
    stages.push_back({{"name", row.name},
                      {"category", kRangeKindNames[static_cast<std::size_t>(row.kind)]},
                      {"n", row.n},
                      {"total_ms", ms(static_cast<double>(row.total_ns))},
                      {"median_ms", ms(row.median_ns)},
                      {"share", row.share}});
  }
  return stages;
}

void print(const StageTable& table, const Output& output) {
  fmt::print("{:<34} {:>7} {:>12} {:>12} {:>8}\n", "stage", "n", "total ms", "median ms", "share");
  for (const StageRow& row : table.rows) {
    fmt::print("{:<34} {:>7} {:>12.3f} {:>12.4f} {:>6.1f} %\n", row.name, row.n,
               ms(static_cast<double>(row.total_ns)), ms(row.median_ns), 100 * row.share);
  }
  fmt::print("{:<34} {:>7} {:>12.3f} {:>12} {:>6.1f} %\n", "between stages", "",
             ms(static_cast<double>(table.gap_ns)), "", 100 * table.gap_share);
  fmt::print("{:<34} {:>7} {:>12.3f} {:>12} {:>6.1f} %\n", "request", 1,
             ms(static_cast<double>(output.timing.total_ns)), "", 100.0);
}

int profile(const ProfileFlags& flags) {
  const std::int64_t length = parse_size(flags.length);
  if (length > kMostTokens) {
    throw Error("--length", "'{}' is more than {} tokens", flags.length, format_size(kMostTokens));
  }
  if (!flags.trace.empty()) check_writable(flags.trace);
  std::optional<ResultWriter> writer;
  if (!flags.db.empty()) writer.emplace(flags.db, command_line());
  EngineOptions options = flags.model.options();
  options.keep_timeline = true;
  const auto engine = make_engine(options);
  const EngineInfo& info = engine->info();
  const Request request = make_profile_request(length, flags.steps, info.vocab_size);
  if (!flags.cold) rehearse(request, *engine);
  const ProfiledRequest profiled{.length = length,
                                 .steps = flags.steps,
                                 .cold = flags.cold,
                                 .profiler = flags.nsight.under,
                                 .output = engine->run(request)};
  const Output& output = profiled.output;
  const StageTable table = stage_table(output);

  if (!flags.trace.empty()) {
    const std::string title =
        fmt::format("{}, {} tokens, {} steps", info.name, format_size(length), flags.steps);
    write_whole(flags.trace, {chrome_trace(output, title, info.device)});
  }
  if (writer) {
    store_profile(profiled, *engine, options, *writer);
    fmt::print(stderr, "the profile is stored in {} as run {}\n", flags.db, writer->sweep_uid());
  }
  if (!flags.json) {
    print(table, output);
    return 0;
  }
  Json result = {{"model", info.name},
                 {"device", info.device},
                 {"prompt_tokens", length},
                 {"decode_steps", flags.steps},
                 {"chunk", info.chunk},
                 {"request_ms", ms(static_cast<double>(output.timing.total_ns))},
                 {"ttft_ms", ms(static_cast<double>(output.timing.ttft_ns))},
                 {"gap_ms", ms(static_cast<double>(table.gap_ns))},
                 {"gap_share", table.gap_share},
                 {"timing_ms", ms(output.timing.stage_overhead_ns)},
                 {"stages", as_json(table)}};
  if (writer) result["run"] = writer->sweep_uid();
  fmt::print("{}\n", result.dump(-1, ' ', false, Json::error_handler_t::replace));
  return 0;
}

int run(const ProfileFlags& flags, const CLI::App& app) {
  if (!flags.nsight.read.empty()) return show_report(flags.nsight, flags.db, flags.json);
  if (flags.model.model.empty()) throw Error("--model", "is required");
  if (flags.length.empty()) throw Error("--length", "is required");
  if (flags.nsight.tool.empty()) return profile(flags);
  if (flags.model.device == "cpu") {
    throw Error("--nsight", "looks at a GPU, --device is cpu; leave --nsight out");
  }
  return profile_under_nsight(flags.nsight, app, flags.db, flags.json);
}

}  // namespace

Action setup_profile(CLI::App& app) {
  const auto flags = std::make_shared<ProfileFlags>();
  flags->model.declare(app);
  app.get_option("--model")->required(false);  // a report is read without
  app.add_option("--length", flags->length, "Tokens of the prompt, e.g. 4k");
  app.add_option("--steps", flags->steps, "Decode steps after the first output")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("--trace", flags->trace, "Write every stage as JSON for Perfetto or Chrome")
      ->type_name("FILE");
  app.add_flag("--json", flags->json, "Print one JSON object");
  app.add_flag("--cold", flags->cold, "Let the request pay what its length costs once");
  app.add_option("--db", flags->db, "Results database to store in");
  flags->nsight.declare(app);
  return [flags, &app] { return run(*flags, app); };
}

}  // namespace sala
