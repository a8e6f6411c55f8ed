// sala gate: the verdict after a change, from stored runs or from processes it runs itself.
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/data_dir.h"
#include "engine/base/error.h"
#include "harness/cli/command.h"
#include "harness/cli/gate_text.h"
#include "harness/compare/gate_store.h"
#include "harness/compare/live_gate.h"
#include "harness/plan/suite.h"

namespace sala {
namespace {

constexpr int kExitIncomplete = 3;

struct GateFlags {
  std::string db = "sala.db";
  std::string baseline;
  std::string candidate;
  std::string baseline_binary;
  std::string candidate_binary;
  std::vector<std::string> suites;
  std::string bench;
  std::vector<std::string> options;  // of the program that measures
  int calibration_pairs = 0;
  std::string policy;
  bool strict = false;
  bool json = false;
  bool no_progress = false;
};

Policy choose_policy(const GateFlags& flags) {
  return load_policy(flags.policy.empty() ? data_dir() / "gate.toml"
                                          : std::filesystem::path(flags.policy));
}

int print_report(const GateReport& report, const GateFlags& flags) {
  fmt::print("{}",
             flags.json ? gate_json(report, flags.strict) : gate_markdown(report, flags.strict));
  return exit_code(report.verdict);
}

int gate_runs(const GateFlags& flags) {
  if (flags.baseline.empty() || flags.candidate.empty()) {
    throw Error("sala gate",
                "expected --baseline RUN and --candidate RUN, or --baseline-binary, "
                "--candidate-binary and --suite or --bench");
  }
  const Policy policy = choose_policy(flags);
  const ComparedSide baseline = read_subject(flags.db, flags.baseline);
  const ComparedSide candidate = read_subject(flags.db, flags.candidate);
  const GateStore store(flags.db, GateStore::Access::read);
  const CellRecord& cell = baseline.results.cells.front();
  const std::string surroundings =
      surroundings_of(baseline.results.environments[cell.runs.back().environment]);
  GateReport report = gate_stored(
      baseline, candidate, policy, flags.strict,
      [&](const GateItem& item) { return store.floor(surroundings, item, policy.max_age_days); });
  report.baseline = flags.baseline;
  report.candidate = flags.candidate;
  return print_report(report, flags);
}

LiveGate live_gate(const GateFlags& flags) {
  if (flags.suites.empty() && flags.bench.empty()) {
    throw Error("--suite", "is missing, expected at least one suite, or --bench, for both sides");
  }
  LiveGate gate{.database = flags.db,
                .baseline_binary = flags.baseline_binary,
                .candidate_binary = flags.candidate_binary,
                .speed = {},
                .answers = {},
                .policy = choose_policy(flags),
                .strict = flags.strict};
  const auto with_options = [&](Work work) {
    work.insert(work.end(), flags.options.begin(), flags.options.end());
    return work;
  };
  for (const std::string& suite : flags.suites) {
    const bool is_speed = load_suite(suite).kind == "perf";
    (is_speed ? gate.speed : gate.answers)
        .push_back(with_options({"run", "--suite", suite, "--no-progress"}));
  }
  if (!flags.bench.empty()) gate.speed.push_back(with_options({"bench", "--filter", flags.bench}));
  return gate;
}

int gate_binaries(const GateFlags& flags) {
  const auto report = [&](const std::string& line) {
    if (!flags.no_progress) fmt::print(stderr, "{}\n", line);
  };
  if (flags.calibration_pairs > 0) {
    if (flags.calibration_pairs < kFewestCalibrationPairs) {
      throw Error("--calibrate", "{} pairs are too few for a noise floor, expected at least {}",
                  flags.calibration_pairs, kFewestCalibrationPairs);
    }
    const auto items = calibrate(live_gate(flags), flags.calibration_pairs, report);
    fmt::print("{}", flags.json ? floors_json(items) : floors_markdown(items));
    return 0;
  }
  if (flags.baseline_binary.empty() || flags.candidate_binary.empty()) {
    throw Error("sala gate", "expected both --baseline-binary and --candidate-binary");
  }
  return print_report(gate_live(live_gate(flags), report), flags);
}

/// Whatever goes wrong is no verdict, and so never a pass or a warning.
int gate(const GateFlags& flags) {
  try {
    const bool is_live = !flags.baseline_binary.empty() || !flags.candidate_binary.empty();
    return is_live ? gate_binaries(flags) : gate_runs(flags);
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return kExitIncomplete;
  }
}

}  // namespace

Action setup_gate(CLI::App& app) {
  const auto flags = std::make_shared<GateFlags>();
  app.add_option("--db", flags->db, "Results database; keeps noise floors and verdicts")
      ->capture_default_str();
  auto* baseline = app.add_option("--baseline", flags->baseline,
                                  "Stored run: sweep, run or commit, :model or :baseline behind");
  app.add_option("--candidate", flags->candidate, "Stored run to be judged");
  auto* binary = app.add_option("--baseline-binary", flags->baseline_binary,
                                "sala of the baseline: runs the suites itself, in pairs A B B A");
  app.add_option("--candidate-binary", flags->candidate_binary, "sala to be judged")
      ->excludes(baseline);
  binary->excludes(baseline);
  auto* suite =
      app.add_option("--suite", flags->suites, "Suite to run on both sides; may be given again");
  app.add_option("--bench", flags->bench, "Benchmarks to run on both sides, by name, instead")
      ->type_name("REGEX")
      ->needs(binary)
      ->excludes(suite);
  app.add_option("--calibrate", flags->calibration_pairs,
                 "Measure the noise floor with so many pairs of the baseline's binary")
      ->needs(binary);
  app.add_option("--policy", flags->policy, "What is tolerated; default: data/gate.toml");
  app.add_flag("--strict", flags->strict,
               "Supporting numbers count like critical ones, and what would warn blocks");
  app.add_flag("--json", flags->json, "Print the verdict as JSON instead of Markdown");
  app.add_flag("--no-progress", flags->no_progress, "No progress on standard error");
  app.add_option("options", flags->options,
                 "Behind --: options of sala run, or of sala bench, for both sides, e.g. -- "
                 "--model needle-hybrid");
  app.footer(
      "Exit code: 0 pass, 1 block, 2 warn or inconclusive, 3 incomplete or invalid, 4 not "
      "comparable, 64 usage");
  return [flags] { return gate(*flags); };
}

}  // namespace sala
