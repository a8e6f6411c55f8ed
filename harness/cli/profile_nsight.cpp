// The part of `sala profile` that has to do with Nsight Systems and Nsight Compute.
// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/profile_nsight.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

#include "engine/base/error.h"
#include "harness/profile/ncu_reader.h"
#include "harness/profile/nsight_command.h"
#include "harness/profile/nsight_report.h"
#include "harness/profile/run_tool.h"
#include "harness/store/profile_rows.h"

namespace sala {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

double ms(std::int64_t ns) {
  return static_cast<double>(ns) / 1e6;
}

double share_of(const KernelRow& row, const KernelTable& table) {
  return table.total_ns == 0
             ? 0
             : static_cast<double>(row.total_ns) / static_cast<double>(table.total_ns);
}

const CounterRow* find_counter(const KernelRow& row, std::string_view name) {
  const auto found = std::ranges::find(row.counters, name, &CounterRow::name);
  return found == row.counters.end() ? nullptr : &*found;
}

void print(const KernelTable& table) {
  const bool has_counters =
      std::ranges::any_of(table.rows, [](const KernelRow& row) { return !row.counters.empty(); });
  fmt::print("{:<34} {:<48} {:>7} {:>11} {:>8} {:>10} {:>10}", "stage", "kernel", "n", "total ms",
             "share", "median us", "p99 us");
  if (has_counters) fmt::print(" {:>10} {:>6} {:>6}", "DRAM MB", "SM %", "DRAM %");
  fmt::print("\n");
  for (const KernelRow& row : table.rows) {
    fmt::print("{:<34} {:<48} {:>7} {:>11.3f} {:>6.1f} % {:>10.2f} {:>10.2f}", row.stage,
               row.kernel.substr(0, 48), row.n, ms(row.total_ns), 100 * share_of(row, table),
               1e3 * ms(row.p50_ns), 1e3 * ms(row.p99_ns));
    if (has_counters) {
      constexpr std::array kWidths{10, 6, 6};
      for (std::size_t i = 0; i < kNcuCounters.size(); ++i) {
        const CounterRow* counter = find_counter(row, kNcuCounters[i]);
        const double scale = i == 0 ? 1e-6 : 1;
        fmt::print(" {:>{}}",
                   counter == nullptr ? "-" : fmt::format("{:.1f}", scale * counter->value),
                   kWidths[i]);
      }
    }
    fmt::print("\n");
  }
  fmt::print("{:<34} {:<48} {:>7} {:>11.3f} {:>6.1f} %\n", "all kernels", "", table.n,
             ms(table.total_ns), 100.0);
  if (!table.span) return;
  fmt::print("{:<83} {:>7} {:>11.3f}\n", "between kernels", "",
             ms(table.span->ns - table.span->busy_ns));
  fmt::print("{:<83} {:>7} {:>11.3f}\n", "first kernel to the end of the last", "",
             ms(table.span->ns));
}

Json as_json(const NsightReport& report, const fs::path& file) {
  Json json{{"tool", report.tool},
            {"report", file.string()},
            {"n", report.kernels.n},
            {"total_ms", ms(report.kernels.total_ns)}};
  if (const auto& span = report.kernels.span) {
    json["span_ms"] = ms(span->ns);
    json["gap_ms"] = ms(span->ns - span->busy_ns);
  }
  json["kernels"] = Json::array();
  for (const KernelRow& row : report.kernels.rows) {
    Json kernel{{"stage", row.stage},
                {"kernel", row.kernel},
                {"n", row.n},
                {"total_ms", ms(row.total_ns)},
                {"share", share_of(row, report.kernels)},
                {"min_ms", ms(row.min_ns)},
                {"median_ms", ms(row.p50_ns)},
                {"p99_ms", ms(row.p99_ns)},
                {"max_ms", ms(row.max_ns)}};
    for (const CounterRow& counter : row.counters) {
      kernel["counters"][counter.name] = {{"mean", counter.value}, {"unit", counter.unit}};
    }
    json["kernels"].push_back(std::move(kernel));
  }
  return json;
}

/// Reads a report, stores its kernels under a run when one is named, and shows them.
int finish(const fs::path& file, const std::string& db, const std::string& run, bool json) {
  const NsightReport report = read_nsight_report(file);
  if (!run.empty()) {
    store_kernels(db, run, {.tool = report.tool, .kernels = report.kernels.rows});
    fmt::print(stderr, "the kernels are stored in {} with run {}\n", db, run);
  }
  if (json) {
    Json object = as_json(report, file);
    if (!run.empty()) object["run"] = run;
    fmt::print("{}\n", object.dump(-1, ' ', false, Json::error_handler_t::replace));
  } else {
    print(report.kernels);
  }
  return 0;
}

/// The command line that is running, for a tool to run.
std::vector<std::string> profiled_program(const CLI::App& app, const std::string& tool) {
  constexpr std::array kOwn{"--nsight", "--stage", "--report", "--print", "--cold", "--json"};
  std::vector<std::string> program{fs::read_symlink("/proc/self/exe"), "profile"};
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_name();
    if (std::ranges::find(kOwn, name) != kOwn.end()) continue;
    for (const std::string& value : option->results()) {
      program.push_back(name);
      if (option->get_items_expected_max() > 0) program.push_back(value);
    }
  }
  program.insert(program.end(), {"--cold", "--json", "--under", tool});
  return program;
}

/// What the profiled program printed, if the line is that.
std::optional<Json> summary_in(std::string_view line) {
  if (!line.starts_with("{\"model\":")) return std::nullopt;
  Json json = Json::parse(line, nullptr, false);
  if (json.is_discarded()) return std::nullopt;
  return json;
}

}  // namespace

void NsightFlags::declare(CLI::App& app) {
  CLI::Option* nsight =
      app.add_option("--nsight", tool,
                     "nsys: a timeline of the request; ncu: the time of each kernel alone, or all "
                     "counters of one --stage");
  app.add_option("--stage", stage, "Stage for ncu, e.g. prefill.lightning.qkv")->needs(nsight);
  app.add_option("--report", report, "File for Nsight, without extension")
      ->needs(nsight)
      ->capture_default_str();
  app.add_flag("--print", print, "Print the command of Nsight instead of running it")
      ->needs(nsight);
  CLI::Option* read_option =
      app.add_option("--read", read,
                     "Show the kernels of a report instead: .nsys-rep, .sqlite, .ncu-rep, .csv")
          ->type_name("FILE")
          ->excludes(nsight);
  app.add_option("--under", under)->group("");  // of the program that a tool runs
  app.add_option("--run", run, "Stored run in --db that the report belongs to")
      ->type_name("UID")
      ->needs(read_option);
}

int profile_under_nsight(const NsightFlags& flags, const CLI::App& app, const std::string& db,
                         bool json) {
  NsightCommand command =
      nsight_command(flags.tool, flags.stage, flags.report, profiled_program(app, flags.tool));
  if (flags.print) {
    fmt::print("{}\n", shell_line(command.words));
    return 0;
  }
  command.words[0] = require_nsight(flags.tool);
  std::error_code ignored;
  fs::remove(command.report, ignored);  // an old one must not pass for what is captured now
  std::optional<Json> summary;
  bool may_not_count = false;
  const int code = run_tool(command.words, true, [&](std::string_view line) {
    if (auto found = summary_in(line)) {
      summary = std::move(found);
      return;
    }
    may_not_count |= line.find("ERR_NVGPUCTRPERM") != std::string_view::npos;
    fmt::print(stderr, "{}\n", line);
  });
  if (may_not_count) {
    throw Error(flags.tool,
                "the driver keeps the GPU's counters to administrators (ERR_NVGPUCTRPERM): run as "
                "root, or load the module nvidia with NVreg_RestrictProfilingToAdminUsers=0; "
                "--nsight nsys needs no counters");
  }
  if (code != 0) {
    throw Error(flags.tool, "ended with exit code {}; what it said is above", code);
  }
  if (!fs::exists(command.report)) {
    throw Error(flags.tool,
                "captured nothing: {} was not written; a stage has to be one of the table and run "
                "on a GPU",
                command.report.string());
  }
  if (db.empty()) return finish(command.report, "", "", json);
  if (!summary || !summary->contains("run")) {
    throw Error(flags.tool,
                "did not pass on what the program printed, so its run in {} is not known; link the "
                "report with: sala profile --read {} --db {} --run UID",
                db, command.report.string(), db);
  }
  return finish(command.report, db, (*summary)["run"].get<std::string>(), json);
}

int show_report(const NsightFlags& flags, const std::string& db, bool json) {
  if (db.empty() != flags.run.empty()) {
    throw Error("--read", "needs both --db and --run to store what a report holds, or neither");
  }
  return finish(flags.read, db, flags.run, json);
}

}  // namespace sala
