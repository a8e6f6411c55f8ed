// Turns a plan into stored results: makes samples, runs them, scores them, commits each.
// SPDX-License-Identifier: Apache-2.0
#include "harness/runner/runner.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "engine/base/error.h"
#include "harness/plan/sizes.h"
#include "harness/runner/gpu_monitor.h"
#include "harness/runner/guards.h"
#include "harness/runner/manifest.h"
#include "harness/runner/measure.h"

namespace sala {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kMaxFailures = 3;  // attempts that ended in error or invalid
constexpr std::int64_t kWarmUpTokens = 1024;
/// A sample whose clock is farther off the run's median ran under other conditions.
constexpr double kClockTolerance = 0.05;
/// A run with a larger share of such samples, or of throttled ones, measured nothing.
constexpr double kMostFlagged = 0.2;
constexpr double kMostOverhead = 0.01;               // of a request's time, for timing its stages
constexpr std::int64_t kLedgerTolerance = 16 << 20;  // bytes, or 1 % where that is more

OomRow make_oom_row(const OutOfMemory& error) {
  return {.category = error.category,
          .requested_bytes = error.requested_bytes,
          .free_bytes = error.available_bytes,
          .predicted = error.predicted};
}

class Runner {
 public:
  Runner(const Plan& plan, const std::vector<Side>& sides, const TaskFactory& make_task,
         ResultWriter& writer, Progress& progress, const NvmlFunctions& (*nvml)())
      : plan_(plan),
        sides_(sides),
        make_task_(make_task),
        writer_(writer),
        progress_(progress),
        watches_(sides.size()) {
    for (std::size_t i = 0; i < sides.size(); ++i) {
      const std::string& uuid = sides[i].engine->info().device_info.uuid;
      if (uuid.empty()) continue;
      try {
        watches_[i].monitor = std::make_unique<GpuMonitor>(GpuSensors(nvml(), uuid));
      } catch (const Error&) {
        continue;  // stated in the environment of every run
      }
    }
  }

  void run() {
    for (const PlannedCell& cell : plan_.cells) {
      progress_.plan(cell.side, cell.samples, cell.length);
    }
    for (std::size_t i = 0; i < plan_.cells.size(); ++i) run_cell(i);
    progress_.finish();
  }

 private:
  struct Attempt {
    std::vector<std::int64_t> missing;  // sample indices
    std::int64_t n_run = 0;             // samples that the engine answered
    bool has_sparse = false;            // such a layer ran
    bool has_linear = false;
    std::set<std::int64_t> flagged;                          // samples whose times mean nothing
    std::vector<std::pair<std::int64_t, double>> sm_clocks;  // of samples, in MHz
    RunEnd end{.status = "ok", .reason = "", .oom = std::nullopt};
    std::vector<std::pair<PromptRow, AnswerRow>> unanswered;
  };

  /// What is known of a side's process and device.
  struct Watch {
    std::unique_ptr<GpuMonitor> monitor;  // none on a CPU, nor where sensors cannot be read
    bool is_warm = false;
    std::int64_t context_bytes = 0;    // of the driver, when it was warm
    std::optional<Ceilings> ceilings;  // of the device, once a speed cell asked for them
  };

  void run_cell(std::size_t index) {
    const PlannedCell& cell = plan_.cells[index];
    const CellState state = writer_.state(index);
    Attempt attempt;
    for (std::int64_t i = 0; i < cell.samples; ++i) {
      const bool is_done = std::find(state.done.begin(), state.done.end(), i) != state.done.end();
      if (is_done || state.is_final || state.failures >= kMaxFailures) {
        progress_.done(cell.side, cell.length, 0, label(cell));
      } else {
        attempt.missing.push_back(i);
      }
    }
    if (state.is_final || state.failures >= kMaxFailures) return;

    writer_.begin_run(index);
    const std::unique_ptr<Task> task = make_task_(cell.task);
    if (cell.row.kind == "perf") {
      run_speed(cell, *task, attempt);
    } else {
      run_accuracy(cell, *task, attempt);
    }
    judge_clocks(attempt);
    judge(cell, attempt);
    writer_.end_run(attempt.end, attempt.unanswered);
  }

  Engine& engine(const PlannedCell& cell) const { return *sides_[cell.side].engine; }
  std::string label(const PlannedCell& cell) const {
    return fmt::format("{} at {}, {}", cell.task, format_size(cell.length), sides_[cell.side].role);
  }

  void run_accuracy(const PlannedCell& cell, const Task& task, Attempt& attempt) {
    const Scorer& scorer = find_scorer(task.info().scorer);
    for (std::size_t i = 0; i < attempt.missing.size(); ++i) {
      Sample sample;
      try {
        sample = task.make(task_options(plan_.suite, engine(cell).info(), cell.length),
                           attempt.missing[i], engine(cell).tokenizer());
      } catch (const Error& error) {  // the task's fault, so no miss of the model
        attempt.end.status = "error";
        attempt.end.reason = error.what();
        return;
      }
      if (!guard(attempt, [&] {
            check_prompt(task.info(), sample, token_limit(plan_.suite, cell.length),
                         engine(cell).tokenizer());
          })) {
        return;
      }
      const PromptRow prompt = make_prompt_row(sample, cell.length, plan_.suite.seed);
      SampleRow row;
      const auto start = Clock::now();
      try {
        row.values = warm_up(cell, make_request(sample));
        const Output output = execute(cell, make_request(sample), sample.index, row, attempt);
        row.answer = {prompt, make_answer_row(sample, output, engine(cell).tokenizer(), scorer)};
        const std::string& text = row.answer->second.output;
        if (!guard(attempt, [&] { check_answer(sample, output, text); })) return;
      } catch (const OutOfMemory& error) {
        out_of_memory(cell, task, i, error.what(), attempt);
        attempt.end.oom = make_oom_row(error);
        return;
      } catch (const std::bad_alloc&) {
        out_of_memory(cell, task, i, "the system refused memory to this process", attempt);
        return;
      } catch (const std::exception& error) {
        row = {};
        row.answer = {prompt, make_failed_answer(error.what())};
      }
      writer_.append(row);
      report(cell, start);
    }
  }

  void run_speed(const PlannedCell& cell, const Task& task, Attempt& attempt) {
    Request request;
    for (const std::int64_t rep : attempt.missing) {
      SampleRow row;
      const auto start = Clock::now();
      try {
        if (request.prompt.empty()) {
          request = make_forced_request(speed_sample(
              sides_[cell.side], task, task_options(plan_.suite, engine(cell).info(), cell.length),
              plan_.suite.new_tokens));
          attempt.end.ceilings = ceilings(cell.side);
          row.values = warm_up(cell, request);
          run_request(cell, make_rehearsal(request, engine(cell).info().chunk));
        }
        execute(cell, request, rep, row, attempt);
      } catch (const OutOfMemory& error) {
        attempt.end.status = "oom";
        attempt.end.reason = error.what();
        attempt.end.oom = make_oom_row(error);
        return;
      } catch (const std::exception& error) {
        attempt.end.status = "error";
        attempt.end.reason = error.what();
        return;
      }
      writer_.append(row);
      report(cell, start);
    }
  }

  /// Whether a check passes; one that fails makes the whole run invalid, so that none of its
  /// answers count.
  template <typename Check>
  static bool guard(Attempt& attempt, const Check& check) {
    try {
      check();
      return true;
    } catch (const Error& error) {
      attempt.end.status = "invalid";
      attempt.end.reason = error.what();
      attempt.end.flags = kGuardFailedFlag;
      return false;
    }
  }

  /// What a side's device can do at best, measured once; nothing when there is no room for that.
  std::optional<Ceilings> ceilings(std::size_t side) {
    const auto device = [&](std::size_t i) { return sides_[i].engine->info().device; };
    for (std::size_t i = 0; i < sides_.size(); ++i) {
      if (device(i) == device(side) && watches_[i].ceilings) return watches_[i].ceilings;
    }
    try {
      watches_[side].ceilings = sides_[side].engine->measure_ceilings();
    } catch (const OutOfMemory&) {
      return std::nullopt;
    }
    return watches_[side].ceilings;
  }

  /// Runs a request; when memory is short, once more without the weights of the other sides.
  Output run_request(const PlannedCell& cell, const Request& request) {
    try {
      return engine(cell).run(request);
    } catch (const OutOfMemory&) {
      if (sides_.size() == 1) throw;
    }
    for (const Side& side : sides_) {
      if (&side != &sides_[cell.side]) side.engine->unload();
    }
    return engine(cell).run(request);
  }

  /// Runs one request; its numbers go into the row.
  Output execute(const PlannedCell& cell, const Request& request, std::int64_t rep, SampleRow& row,
                 Attempt& attempt) {
    reset_host_peak();
    GpuMonitor* const monitor = watches_[cell.side].monitor.get();
    if (monitor != nullptr) monitor->start();
    Output output = run_request(cell, request);
    const GpuWindow window = monitor != nullptr ? monitor->stop() : GpuWindow{};
    const auto n_prompt = static_cast<std::int64_t>(request.prompt.size());
    std::vector<ValueRow> values = make_values(output, n_prompt, engine(cell).info().chunk, rep);
    if (monitor != nullptr) add_sensors(cell, window, output, n_prompt, rep, values, row, attempt);
    row.values.insert(row.values.end(), values.begin(), values.end());
    const double overhead = output.timing.stage_overhead_ns;
    if (overhead > kMostOverhead * static_cast<double>(output.timing.total_ns)) {
      attempt.end.flags |= kOverheadFlag;
    }
    row.memory = output.memory;
    row.peak_bytes = output.peak_bytes;
    row.route = output.route;
    ++attempt.n_run;
    for (const RouteEntry& entry : output.route) {
      attempt.has_sparse |= entry.path == "sparse";
      attempt.has_linear |= entry.path == "linear";
    }
    return output;
  }

  /// What the sensors said of a request, into its values, its row and the attempt.
  void add_sensors(const PlannedCell& cell, const GpuWindow& window, const Output& output,
                   std::int64_t n_prompt, std::int64_t rep, std::vector<ValueRow>& values,
                   SampleRow& row, Attempt& attempt) const {
    const auto energy = make_energy_values(window, output.timing, n_prompt, rep);
    values.insert(values.end(), energy.begin(), energy.end());
    if (const auto mhz = window_sm_mhz(window)) {
      values.push_back({.metric = "sm_mhz", .rep = rep, .value = *mhz});
      attempt.sm_clocks.emplace_back(rep, *mhz);
    }
    std::int64_t flags = window_flags(window);
    if (const auto peak = window_peak_bytes(window)) {
      values.push_back(
          {.metric = "driver_peak_bytes", .rep = rep, .value = static_cast<double>(*peak)});
      const std::int64_t context = watches_[cell.side].context_bytes;
      const std::int64_t unaccounted =
          *peak - context - output.peak_bytes - held_by_others(cell.side);
      row.driver_memory = {.context_bytes = context, .unaccounted_bytes = unaccounted};
      if (std::abs(unaccounted) > std::max(*peak / 100, kLedgerTolerance)) flags |= kLedgerGapFlag;
    }
    for (ValueRow& value : values) value.flags = flags & kHardFlags;
    if ((flags & kHardFlags) != 0) attempt.flagged.insert(rep);
    attempt.end.flags |= flags;
    row.telemetry = make_telemetry(window);
  }

  /// Bytes of a side's device that the engines of other sides hold.
  std::int64_t held_by_others(std::size_t side) const {
    const auto device = [&](std::size_t i) { return sides_[i].engine->info().device_info.uuid; };
    std::int64_t bytes = 0;
    for (std::size_t i = 0; i < sides_.size(); ++i) {
      if (i != side && device(i) == device(side)) bytes += sides_[i].engine->held_bytes();
    }
    return bytes;
  }

  /// The first request of an engine pays for what later ones find ready, so it is a number of its
  /// own and no sample.
  std::vector<ValueRow> warm_up(const PlannedCell& cell, Request request) {
    Watch& watch = watches_[cell.side];
    if (watch.is_warm) return {};
    watch.is_warm = true;
    request.prompt.resize(std::min(request.prompt.size(), static_cast<std::size_t>(kWarmUpTokens)));
    if (watch.monitor) watch.monitor->start();
    const Output output = run_request(cell, request);
    if (watch.monitor) {
      const std::int64_t ledgers = engine(cell).held_bytes() + held_by_others(cell.side);
      const auto used_bytes = watch.monitor->stop().readings.back().used_bytes;
      watch.context_bytes = used_bytes.value_or(ledgers) - ledgers;
    }
    if (output.timing.ttft_ns <= 0) return {};
    return {
        {.metric = "cold.ttft_ns", .rep = -1, .value = static_cast<double>(output.timing.ttft_ns)}};
  }

  /// The samples from missing[first] on get no try: a miss each, so that they stay in the count.
  void out_of_memory(const PlannedCell& cell, const Task& task, std::size_t first,
                     const std::string& why, Attempt& attempt) {
    attempt.end.status = "oom";
    attempt.end.reason = why;
    for (std::size_t i = first; i < attempt.missing.size(); ++i) {
      const Sample sample = task.make(task_options(plan_.suite, engine(cell).info(), cell.length),
                                      attempt.missing[i], engine(cell).tokenizer());
      attempt.unanswered.emplace_back(make_prompt_row(sample, cell.length, plan_.suite.seed),
                                      make_failed_answer(why));
      progress_.done(cell.side, cell.length, 0, label(cell));
    }
  }

  /// What contradicts the mode in what really ran; empty when nothing does.
  static std::string route_mismatch(const std::string& mode, const Attempt& attempt) {
    if (mode == "hybrid" && !attempt.has_sparse && !attempt.has_linear) {
      return "no sparse or linear layer ran in a hybrid model";
    }
    if (mode == "full" && (attempt.has_sparse || attempt.has_linear)) {
      return "a sparse or linear layer ran in a full-attention model";
    }
    if (mode == "ablation" && attempt.has_sparse) {
      return "a sparse layer ran where every one was to be dense";
    }
    return "";
  }

  /// Marks the samples that ran at another clock than the rest of the run.
  static void judge_clocks(Attempt& attempt) {
    std::vector<double> clocks;
    clocks.reserve(attempt.sm_clocks.size());
    for (const auto& [rep, mhz] : attempt.sm_clocks) clocks.push_back(mhz);
    if (clocks.empty()) return;
    std::sort(clocks.begin(), clocks.end());
    const double median = clocks[clocks.size() / 2];
    for (const auto& [rep, mhz] : attempt.sm_clocks) {
      if (std::abs(mhz - median) <= kClockTolerance * median) continue;
      attempt.end.clock_changed.push_back(rep);
      attempt.flagged.insert(rep);
      attempt.end.flags |= kClockChangedFlag;
    }
  }

  /// Why the times of a run mean nothing; empty when they do.
  static std::string disturbance(const Attempt& attempt) {
    const auto n_flagged = static_cast<std::int64_t>(attempt.flagged.size());
    if (static_cast<double>(n_flagged) <= kMostFlagged * static_cast<double>(attempt.n_run)) {
      return "";
    }
    std::string why;
    const auto add = [&](std::int64_t flag, const char* text) {
      if ((attempt.end.flags & flag) == 0) return;
      why += fmt::format("{}{}", why.empty() ? "" : ", ", text);
    };
    add(kThrottledFlag, "heat or power supply slowed the GPU down");
    add(kClockChangedFlag, "its clock changed");
    add(kForeignProcessFlag, "another process computed on it");
    return fmt::format("{} of {} samples do not count: {}", n_flagged, attempt.n_run, why);
  }

  /// Grade of the run, and whether the route it took is the one its mode stands for.
  void judge(const PlannedCell& cell, Attempt& attempt) const {
    RunEnd& end = attempt.end;
    if (end.status != "ok") return;
    if (attempt.n_run > 0) end.reason = route_mismatch(cell.row.mode, attempt);
    if (!end.reason.empty()) {
      end.status = "invalid";
      end.flags |= kRouteMismatchFlag;
      return;
    }
    // Answers do not depend on how fast they came.
    if (cell.row.kind == "perf") end.reason = disturbance(attempt);
    if (!end.reason.empty()) {
      end.status = "invalid";
      return;
    }
    // Answers do not depend on the process that gave them, times do.
    const std::int64_t n = cell.row.kind == "perf" ? attempt.n_run : cell.samples;
    const bool is_slowed = cell.row.kind == "perf" && (end.flags & kOverheadFlag) != 0;
    end.grade = n >= minimum_repetitions(cell.length) && !is_slowed ? "measured" : "probe";
  }

  void report(const PlannedCell& cell, Clock::time_point start) {
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    progress_.done(cell.side, cell.length, seconds, label(cell));
  }

  const Plan& plan_;
  const std::vector<Side>& sides_;
  const TaskFactory& make_task_;
  ResultWriter& writer_;
  Progress& progress_;
  std::vector<Watch> watches_;
};

}  // namespace

void run_plan(const Plan& plan, const std::vector<Side>& sides, const TaskFactory& make_task,
              ResultWriter& writer, Progress& progress, const NvmlFunctions& (*nvml)()) {
  Runner(plan, sides, make_task, writer, progress, nvml).run();
}

}  // namespace sala
