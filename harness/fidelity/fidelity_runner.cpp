// Everything of the model as designed comes first, so that the weights change twice a cell at most.
// SPDX-License-Identifier: Apache-2.0
#include "harness/fidelity/fidelity_runner.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <string>
#include <utility>

#include "engine/base/error.h"
#include "harness/fidelity/activity.h"
#include "harness/fidelity/divergence.h"
#include "harness/fidelity/selection.h"
#include "harness/plan/sizes.h"
#include "harness/runner/guards.h"
#include "harness/runner/measure.h"
#include "harness/scorer.h"

namespace sala {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kPromptRows = 128;  // positions of the prompt whose logits are compared

/// Thrown where what ran is not what was asked for; ends a run as invalid.
struct Invalid {
  std::string reason;
  std::int64_t flag;
};

/// Does the work; when memory is short, once more without the weights of the other engine.
template <typename Work>
auto with_room(Engine& other, const Work& work) {
  try {
    return work();
  } catch (const OutOfMemory&) {
    if (other.held_bytes() == 0) throw;
  }
  other.unload();
  return work();
}

class FidelityRunner {
 public:
  FidelityRunner(const Plan& plan, const Side& model, Engine& dense, const TaskFactory& make_task,
                 ResultWriter& writer, Progress& progress)
      : plan_(plan),
        model_(*model.engine),
        dense_(dense),
        make_task_(make_task),
        writer_(writer),
        progress_(progress) {}

  std::int64_t run() {
    for (const PlannedCell& cell : plan_.cells) {
      for (const std::size_t engine : {kModel, kDense}) {
        progress_.plan(engine, cell.samples, cell.length);
      }
    }
    std::int64_t n_failed = 0;
    for (std::size_t i = 0; i < plan_.cells.size(); ++i) {
      writer_.begin_run(i);
      const RunEnd end = run_cell(plan_.cells[i]);
      writer_.end_run(end, {});
      n_failed += end.status == "ok" ? 0 : 1;
    }
    progress_.finish();
    return n_failed;
  }

 private:
  static constexpr std::size_t kModel = 0;  // sides of the progress
  static constexpr std::size_t kDense = 1;

  /// A prompt that the model has answered and the dense one has not.
  struct Half {
    Sample sample;
    SampleRow row;
    Output output;
    std::vector<TokenId> text;  // prompt and right answer
    std::vector<float> logits;  // of the last n_rows positions of the text
    std::int64_t n_rows = 0;
    std::optional<double> forced_score;
  };

  RunEnd run_cell(const PlannedCell& cell) {
    RunEnd end{.status = "ok", .reason = "", .oom = std::nullopt};
    const auto fail = [&](const char* status, const std::string& reason) {
      end.status = status;
      end.reason = reason;
    };
    try {
      run_samples(cell);
      end.grade = cell.samples >= minimum_repetitions(cell.length) ? "measured" : "probe";
    } catch (const Invalid& invalid) {
      fail("invalid", invalid.reason);
      end.flags = invalid.flag;
    } catch (const OutOfMemory& error) {
      fail("oom", error.what());
      end.oom = OomRow{.category = error.category,
                       .requested_bytes = error.requested_bytes,
                       .free_bytes = error.available_bytes,
                       .predicted = error.predicted};
    } catch (const std::bad_alloc&) {
      fail("oom", "the system refused memory to this process");
    } catch (const std::exception& error) {
      fail("error", error.what());
    }
    return end;
  }

  void run_samples(const PlannedCell& cell) {
    const std::unique_ptr<Task> task = make_task_(cell.task);
    const Scorer& scorer = find_scorer(task->info().scorer);
    std::vector<Half> halves;
    for (std::int64_t i = 0; i < cell.samples; ++i) {
      const auto start = Clock::now();
      halves.push_back(run_model(cell, *task, scorer, i));
      report(kModel, cell, start);
    }
    for (Half& half : halves) {
      const auto start = Clock::now();
      run_dense(half, scorer);
      writer_.append(half.row);
      half = {};
      report(kDense, cell, start);
    }
  }

  Half run_model(const PlannedCell& cell, const Task& task, const Scorer& scorer, std::int64_t i) {
    const Tokenizer& tokenizer = model_.tokenizer();
    Half half;
    half.sample = task.make(task_options(plan_.suite, model_.info(), cell.length), i, tokenizer);
    const Sample& sample = half.sample;
    guard([&] {
      check_prompt(task.info(), sample, token_limit(plan_.suite, cell.length), tokenizer);
    });
    const auto n_prompt = static_cast<std::int64_t>(sample.prompt_ids.size());
    Request request = make_request(sample);
    request.selection = make_selection_request(sample);
    half.output = with_room(dense_, [&] { return model_.run(request); });
    half.row.route = half.output.route;
    const std::string mismatch = activity_mismatch(model_.info(), half.output.route, n_prompt);
    if (!mismatch.empty()) refuse_route(mismatch, half.row.route);

    AnswerRow answer = make_answer_row(sample, half.output, tokenizer, scorer);
    guard([&] { check_answer(sample, half.output, answer.output); });
    if (answer.score < 1) half.forced_score = forced_score(sample, scorer);
    answer.ttft_ns.reset();  // times of a run that measures selections say nothing
    answer.total_ns.reset();
    half.row.answer = {make_prompt_row(sample, cell.length, plan_.suite.seed), std::move(answer)};
    half.row.fidelity.selection = selection_rows(half.output.selection, n_prompt);

    const std::vector<TokenId> gold = gold_tokens(sample, task.info(), tokenizer);
    half.text = sample.prompt_ids;
    half.text.insert(half.text.end(), gold.begin(), gold.end());
    half.n_rows = std::min(kPromptRows, n_prompt) + static_cast<std::int64_t>(gold.size());
    half.logits = with_room(dense_, [&] { return model_.logits(half.text, half.n_rows); });
    return half;
  }

  /// Of the answer when every query has to read the needles' blocks: what a miss of the selection
  /// has cost. Absent where the prompt has no needles.
  std::optional<double> forced_score(const Sample& sample, const Scorer& scorer) {
    Request request = make_request(sample);
    request.selection.needles = make_selection_request(sample).needles;
    request.selection.force_needles = true;
    if (request.selection.needles.empty()) return std::nullopt;
    const Output output = with_room(dense_, [&] { return model_.run(request); });
    return make_answer_row(sample, output, model_.tokenizer(), scorer).score;
  }

  void run_dense(Half& half, const Scorer& scorer) {
    const Output output = with_room(model_, [&] { return dense_.run(make_request(half.sample)); });
    const std::string mismatch = dense_mismatch(model_.info(), output.route);
    if (!mismatch.empty()) refuse_route(mismatch, output.route);
    const std::vector<float> logits =
        with_room(model_, [&] { return dense_.logits(half.text, half.n_rows); });
    const LogitDistance distance = logit_distance(logits, half.logits, model_.info().vocab_size);
    DivergenceRow row{
        .n_positions = distance.n_positions,
        .kld_mean = distance.kld_mean,
        .kld_p99 = distance.kld_p99,
        .kld_max = distance.kld_max,
        .top1_agree = distance.top1_agree,
        .first_position = first_difference(output, half.output),
        .top2_gap = std::nullopt,
        .answer_class = "",
        .dense_score = make_answer_row(half.sample, output, dense_.tokenizer(), scorer).score,
        .forced_score = half.forced_score};
    if (row.first_position) row.top2_gap = dense_gap(half, output, logits, *row.first_position);
    row.answer_class = divergence_class(row.top2_gap);
    half.row.fidelity.divergence = row;
  }

  /// The dense model's gap between its two best tokens behind the first n of its answer. Where
  /// those are the right answer's too, their logits are known.
  double dense_gap(const Half& half, const Output& output, const std::vector<float>& logits,
                   std::int64_t n) {
    std::vector<TokenId> text = half.sample.prompt_ids;
    text.insert(text.end(), output.tokens.begin(), output.tokens.begin() + n);
    if (text.size() <= half.text.size() &&
        std::equal(text.begin(), text.end(), half.text.begin())) {
      const std::size_t vocab = logits.size() / static_cast<std::size_t>(half.n_rows);
      const std::size_t rows_behind = half.text.size() - text.size() + 1;
      return top2_gap(std::span(logits).last(rows_behind * vocab).first(vocab));
    }
    return top2_gap(with_room(model_, [&] { return dense_.logits(text, 1); }));
  }

  template <typename Check>
  static void guard(const Check& check) {
    try {
      check();
    } catch (const Error& error) {
      throw Invalid{error.what(), kGuardFailedFlag};
    }
  }

  /// The route stays as evidence; nothing else of the sample is kept.
  [[noreturn]] void refuse_route(const std::string& mismatch,
                                 const std::vector<RouteEntry>& route) {
    SampleRow evidence;
    evidence.route = route;
    writer_.append(evidence);
    throw Invalid{"route_mismatch: " + mismatch, kRouteMismatchFlag};
  }

  void report(std::size_t engine, const PlannedCell& cell, Clock::time_point start) {
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    progress_.done(engine, cell.length, seconds,
                   fmt::format("{} at {}, {}", cell.task, format_size(cell.length),
                               engine == kModel ? "as designed" : "dense"));
  }

  const Plan& plan_;
  Engine& model_;
  Engine& dense_;
  const TaskFactory& make_task_;
  ResultWriter& writer_;
  Progress& progress_;
};

}  // namespace

std::vector<TokenId> gold_tokens(const Sample& sample, const TaskInfo& task,
                                 const Tokenizer& tokenizer) {
  if (sample.references.empty()) {
    throw Error(task.name, "has no right answer to compare logits on; name a task with one");
  }
  std::string gold = task.scorer == "ruler_all"
                         ? fmt::format("{}", fmt::join(sample.references, ", "))
                         : sample.references.front();
  if (!sample.prompt.ends_with(' ') && !sample.prompt.ends_with('\n')) gold = " " + gold;
  std::vector<TokenId> ids = tokenizer.encode(sample.prompt + gold).ids;
  if (!ids.empty() && ids.front() != sample.prompt_ids.front()) {
    ids.insert(ids.begin(), sample.prompt_ids.front());  // a BOS that the text does not spell out
  }
  const std::vector<TokenId>& prompt = sample.prompt_ids;
  const bool continues =
      ids.size() > prompt.size() && std::equal(prompt.begin(), prompt.end(), ids.begin());
  if (!continues) return tokenizer.encode(gold).ids;  // its first token took a part of the prompt
  return {ids.begin() + static_cast<std::ptrdiff_t>(prompt.size()), ids.end()};
}

std::int64_t run_fidelity(const Plan& plan, const Side& model, Engine& dense,
                          const TaskFactory& make_task, ResultWriter& writer, Progress& progress) {
  return FidelityRunner(plan, model, dense, make_task, writer, progress).run();
}

}  // namespace sala
