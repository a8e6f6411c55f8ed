// A gate that runs the processes itself, and the calibration that measures its noise floor.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/live_gate.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/sha256.h"
#include "harness/compare/gate_store.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

constexpr int kTries = 3;  // of one pair
// A measured rate of false alarms above this disables the gate.
constexpr double kMostAlarms = 0.01;
constexpr std::int64_t kFewestTrials = 20;

GateBinary binary_of(const fs::path& path) {
  if (access(path.c_str(), X_OK) != 0 || !fs::is_regular_file(path)) {
    throw Error(path.string(), "is no program; name the sala binary of a build");
  }
  return {.path = fs::absolute(path), .sha256 = sha256_file(path)};
}

fs::path parent_folder(const fs::path& database) {
  return database.string() + ".gates";
}

/// Results of one process a side, and how they pair; the pairing points into the subjects.
struct Taken {
  std::pair<ComparedSide, ComparedSide> subjects;
  Pairing pairing;
};

/// Takes a pair, again when a process or one of its cells failed. After the last try the failed
/// cells are returned as they are, a failed process is thrown.
Taken take_pair(ProcessPairs& processes, const std::vector<Work>& work,
                const ProcessPairs::Report& report) {
  for (int attempt = 1;; ++attempt) {
    try {
      Taken taken{.subjects = processes.take(work), .pairing = {}};
      taken.pairing = pair_cells(taken.subjects.first, taken.subjects.second);
      const bool is_whole =
          taken.pairing.missing.empty() &&
          std::all_of(taken.pairing.cells.begin(), taken.pairing.cells.end(),
                      [](const CellPair& pair) {
                        return is_answered(*pair.baseline) && is_answered(*pair.candidate);
                      });
      if (is_whole || attempt == kTries) return taken;
      report("a cell failed, the pair is repeated");
    } catch (const Error& error) {
      if (attempt == kTries) throw;
      report(fmt::format("a process failed, the pair is repeated: {}", error.what()));
    }
  }
}

std::string surroundings_of(const ComparedSide& subject) {
  const CellRecord& cell = subject.results.cells.front();
  return surroundings_of(subject.results.environments[cell.runs.back().environment]);
}

class Gate {
 public:
  Gate(const LiveGate& gate, const ProcessPairs::Report& report)
      : gate_(gate),
        report_(report),
        baseline_(binary_of(gate.baseline_binary)),
        candidate_(binary_of(gate.candidate_binary)),
        store_(gate.database, GateStore::Access::write) {
    found_.baseline = baseline_.path.string();
    found_.candidate = candidate_.path.string();
    found_.uid = store_.begin(baseline_, candidate_, gate.policy, parent_folder(gate.database));
    found_.folder = (parent_folder(gate.database) / found_.uid).string();
  }

  GateReport run() {
    try {
      ProcessPairs processes({.baseline_binary = baseline_.path,
                              .candidate_binary = candidate_.path,
                              .folder = found_.folder},
                             report_);
      judge(processes);
    } catch (const Interrupted&) {
      stop(GateVerdict::incomplete, "interrupted");
    } catch (const Error& error) {
      stop(GateVerdict::incomplete, error.what());
    }
    store_.finish(found_, surroundings_);
    return found_;
  }

 private:
  void stop(GateVerdict verdict, const std::string& reason) {
    found_.verdict = verdict;
    found_.reason = reason;
  }

  /// Whether the two sides of a pair may be compared; says so in the report when not.
  bool accept(const Taken& taken) {
    surroundings_ = surroundings_of(taken.subjects.first);
    found_.differences = taken.pairing.differences;
    found_.differences.insert(found_.differences.end(), taken.pairing.surroundings.begin(),
                              taken.pairing.surroundings.end());
    if (found_.differences.empty()) return true;
    stop(GateVerdict::not_comparable, differences_text(found_.differences));
    return false;
  }

  void add_settled(const Pairing& pairing) {
    const std::vector<GateItem> items = settled_items(pairing, gate_.policy);
    found_.items.insert(found_.items.end(), items.begin(), items.end());
  }

  void judge(ProcessPairs& processes) {
    if (!gate_.answers.empty()) {
      const Taken taken = take_pair(processes, gate_.answers, report_);
      if (!accept(taken)) return;
      add_settled(taken.pairing);
    }
    if (!gate_.speed.empty() && !judge_speed(processes)) return;
    adjust_for_multiplicity(found_.items, gate_.policy.alpha);
    found_.verdict = joint_verdict(found_.items, gate_.strict);
  }

  bool judge_speed(ProcessPairs& processes) {
    const Taken first = take_pair(processes, gate_.speed, report_);
    if (!accept(first) || !is_trusted()) return false;
    add_settled(first.pairing);
    std::vector<GateItem> items =
        speed_items(first.pairing, gate_.policy, [&](const GateItem& item) {
          return store_.floor(surroundings_, item, gate_.policy.max_age_days);
        });
    std::optional<std::string> lacking = append_pair(items, first.pairing, PairBlock::first);
    decide_all(items, gate_.strict, [&](PairBlock block) -> std::optional<std::string> {
      if (lacking) return lacking;
      try {
        const Taken taken = take_pair(processes, gate_.speed, report_);
        return append_pair(items, taken.pairing, block);
      } catch (const Error& error) {
        return error.what();
      }
    });
    found_.items.insert(found_.items.begin(), items.begin(), items.end());
    return true;
  }

  /// A gate that raises too many alarms over identical binaries says nothing about others.
  bool is_trusted() {
    const AlarmRate rate = store_.alarm_rate(surroundings_);
    if (rate.trials < kFewestTrials ||
        wilson_interval(rate.alarms, rate.trials).low <= kMostAlarms) {
      return true;
    }
    stop(GateVerdict::incomplete,
         fmt::format("{} of {} gates of a binary against itself raised an alarm: measure the noise "
                     "floor again with --calibrate",
                     rate.alarms, rate.trials));
    return false;
  }

  const LiveGate& gate_;
  const ProcessPairs::Report& report_;
  GateBinary baseline_;
  GateBinary candidate_;
  GateStore store_;
  GateReport found_;
  std::string surroundings_;
};

}  // namespace

GateReport gate_live(const LiveGate& gate, const ProcessPairs::Report& report) {
  return Gate(gate, report).run();
}

std::vector<GateItem> calibrate(const LiveGate& gate, int pairs,
                                const ProcessPairs::Report& report) {
  const GateBinary binary = binary_of(gate.baseline_binary);
  GateStore store(gate.database, GateStore::Access::write);
  ProcessPairs processes(
      {.baseline_binary = binary.path,
       .candidate_binary = binary.path,
       .folder = parent_folder(gate.database) / ("calibration-" + std::to_string(getpid()))},
      report);
  // Stages near the least share are in and out by chance: measure them too.
  Policy policy = gate.policy;
  for (PolicyItem& item : policy.items) item.least_share /= 2;
  std::vector<GateItem> items;
  std::string surroundings;
  for (int i = 0; i < pairs; ++i) {
    const Taken taken = take_pair(processes, gate.speed, report);
    if (i == 0) {
      surroundings = surroundings_of(taken.subjects.first);
      items = speed_items(taken.pairing, policy,
                          [](const GateItem&) -> std::optional<NoiseFloor> { return {}; });
    }
    if (const auto lacking = append_pair(items, taken.pairing, PairBlock::first)) {
      throw Error(binary.path.string(), "no noise floor can be measured: {}", *lacking);
    }
  }
  if (items.empty()) {
    throw Error(binary.path.string(),
                "no speed cell has run; give a suite of kind perf or --bench");
  }
  store.add_floors(surroundings, items);
  return items;
}

}  // namespace sala
