// Turns a plan into stored results: makes samples, runs them, scores them, commits each.
// SPDX-License-Identifier: Apache-2.0
#include "harness/runner/runner.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "engine/base/error.h"
#include "harness/plan/sizes.h"
#include "harness/runner/guards.h"
#include "harness/runner/manifest.h"
#include "harness/runner/measure.h"

namespace sala {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kMaxFailures = 3;  // attempts that ended in error or invalid
// run.flags, both hard.
constexpr std::int64_t kRouteMismatch = 1 << 7;  // the route is not the mode's
constexpr std::int64_t kGuardFailed = 1 << 12;   // a prompt or answer is not what it has to be
constexpr std::int64_t kWarmUpTokens = 1024;

OomRow make_oom_row(const OutOfMemory& error) {
  return {.category = error.category,
          .requested_bytes = error.requested_bytes,
          .free_bytes = error.available_bytes,
          .predicted = error.predicted};
}

class Runner {
 public:
  Runner(const Plan& plan, const std::vector<Side>& sides, const TaskFactory& make_task,
         ResultWriter& writer, Progress& progress)
      : plan_(plan),
        sides_(sides),
        make_task_(make_task),
        writer_(writer),
        progress_(progress),
        is_warm_(sides.size(), false) {}

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
    RunEnd end{.status = "ok", .reason = "", .oom = std::nullopt};
    std::vector<std::pair<PromptRow, AnswerRow>> unanswered;
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
        sample = task.make(task_options(plan_.suite, cell.length), attempt.missing[i],
                           engine(cell).tokenizer());
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
          request = make_forced_request(speed_sample(sides_[cell.side], task,
                                                     task_options(plan_.suite, cell.length),
                                                     plan_.suite.new_tokens));
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
      attempt.end.flags = kGuardFailed;
      return false;
    }
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
    Output output = run_request(cell, request);
    const auto values = make_values(output, static_cast<std::int64_t>(request.prompt.size()), rep);
    row.values.insert(row.values.end(), values.begin(), values.end());
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

  /// The first request of an engine pays for what later ones find ready, so it is a number of its
  /// own and no sample.
  std::vector<ValueRow> warm_up(const PlannedCell& cell, Request request) {
    if (is_warm_[cell.side]) return {};
    is_warm_[cell.side] = true;
    request.prompt.resize(std::min(request.prompt.size(), static_cast<std::size_t>(kWarmUpTokens)));
    const Output output = run_request(cell, request);
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
      const Sample sample = task.make(task_options(plan_.suite, cell.length), attempt.missing[i],
                                      engine(cell).tokenizer());
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

  /// Grade of the run, and whether the route it took is the one its mode stands for.
  void judge(const PlannedCell& cell, Attempt& attempt) const {
    RunEnd& end = attempt.end;
    if (end.status != "ok") return;
    if (attempt.n_run > 0) end.reason = route_mismatch(cell.row.mode, attempt);
    if (!end.reason.empty()) {
      end.status = "invalid";
      end.flags = kRouteMismatch;
      return;
    }
    // Answers do not depend on the process that gave them, times do.
    const std::int64_t n = cell.row.kind == "perf" ? attempt.n_run : cell.samples;
    end.grade = n >= minimum_repetitions(cell.length) ? "measured" : "probe";
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
  std::vector<bool> is_warm_;
};

}  // namespace

void run_plan(const Plan& plan, const std::vector<Side>& sides, const TaskFactory& make_task,
              ResultWriter& writer, Progress& progress) {
  Runner(plan, sides, make_task, writer, progress).run();
}

}  // namespace sala
