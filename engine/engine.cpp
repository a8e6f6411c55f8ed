// The built-in engine: chunked prefill, greedy decoding, and what they cost.
// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <tuple>
#include <utility>

#include "engine/base/bf16.h"
#include "engine/base/error.h"
#include "engine/bench/ceilings.h"
#include "engine/loaded_model.h"

namespace sala {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kLogitsPerBlock = std::int64_t{4} << 20;  // 16 MiB of fp32

std::int64_t ns_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(to - from).count();
}

/// Memory of the one sequence that the engine runs at a time.
struct Sequence {
  Sequence(const Model& model, Backend& backend, std::int64_t max_tokens, std::int64_t max_chunk,
           std::int64_t n_logit_rows)
      : capacity(max_tokens),
        state(model.new_state(max_tokens)),
        work(backend, model.config(), max_chunk),
        scratch(backend, model.scratch_bytes(max_chunk, max_tokens, backend.compute_dtype())),
        logits_buffer(backend.allocate(
            n_logit_rows * model.config().vocab * dtype_bytes(DType::f32), "logits")),
        logits{logits_buffer.data(), DType::f32, n_logit_rows, model.config().vocab} {}

  std::int64_t capacity;
  ModelState state;
  Activations work;
  Workspace scratch;
  Buffer logits_buffer;
  TensorView logits;  // (logit rows, vocab)

  std::unique_ptr<Recording> recorded_step;  // serves every request of this sequence
  Cost step_cost;                            // where it was recorded
  bool has_stepped = false;
};

/// ln softmax(logits)[id], summed in fp64.
float log_probability(std::span<const float> logits, TokenId id) {
  const float top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - top);
  return static_cast<float>(logits[static_cast<std::size_t>(id)] - top - std::log(sum));
}

class BuiltInEngine final : public Engine {
 public:
  explicit BuiltInEngine(const EngineOptions& options)
      : options_(options), loaded_(load_model(options)), trace_(loaded_.backend->stage_clock()) {
    if (options.time_stages) span_ns_ = trace_.span_ns();
    trace_.set_keeps_timeline(options.keep_timeline);
    if (loaded_.model) warm_up();
  }

  const EngineInfo& info() const override { return loaded_.info; }
  const Tokenizer& tokenizer() const override;
  std::vector<CategoryBytes> plan_memory(std::int64_t n_tokens) const override {
    return loaded_.blueprint->plan(n_tokens, info().chunk, 1);
  }
  Output run(const Request& request) override;
  std::vector<float> logits(std::span<const TokenId> tokens, std::int64_t last) override;
  std::int64_t held_bytes() const override { return loaded_.backend->ledger().live_bytes(); }
  Ceilings measure_ceilings() override { return sala::measure_ceilings(*loaded_.backend); }
  void unload() override {
    sequence_.reset();
    loaded_.model.reset();
  }

 private:
  /// Sees the hidden rows of a prefill chunk and the position of the first.
  using VisitChunk = std::function<void(TensorView hidden, std::int64_t first_position)>;

  void load();
  void warm_up();
  void check_tokens(const char* where, std::span<const TokenId> tokens) const;
  void check(const Request& request) const;
  void prepare(std::int64_t n_tokens, std::int64_t n_logit_rows, std::int64_t result_bytes);
  ExecutionContext start_request(std::int64_t prefill_end);
  TensorView prefill(std::span<const TokenId> prompt, ExecutionContext& context,
                     const VisitChunk& visit);
  /// Prefill and decoding with their times; output.timing.start is given.
  void answer(const Request& request, ExecutionContext& context, Output& output);
  void decode(const Request& request, TensorView hidden, Clock::time_point start,
              ExecutionContext& context, Output& output);
  /// Samples the token that follows a hidden row.
  void sample(TensorView hidden, ExecutionContext& context);
  /// Runs the sampled token and samples its successor, by a recording where the device can.
  void step(ExecutionContext& context);
  [[noreturn]] void fail_not_finite(std::int64_t position) const;
  /// Calls visit(position, logits of that position) for rows of hidden states.
  template <typename Visit>
  void for_each_logits(TensorView hidden, std::int64_t first_position, ExecutionContext& context,
                       const Visit& visit);
  /// Rows of logits to compute at a time when n_rows are wanted.
  std::int64_t logit_block(std::int64_t n_rows) const {
    const std::int64_t most = std::max<std::int64_t>(kLogitsPerBlock / loaded_.config.vocab, 1);
    return std::min({n_rows, info().chunk, most});
  }
  bool is_eos(TokenId id) const {
    const auto& eos = loaded_.config.eos;
    return std::find(eos.begin(), eos.end(), id) != eos.end();
  }
  bool rounds_logits() const { return loaded_.config.settings.at("logits_round") == "bf16"; }

  EngineOptions options_;
  LoadedModel loaded_;
  Trace trace_;
  RouteLog route_;
  std::unique_ptr<Sequence> sequence_;
  std::vector<float> host_logits_;
  std::vector<std::int64_t> chunk_ns_;  // of the last prefill
  double span_ns_ = 0;                  // what timing one stage takes
};

const Tokenizer& BuiltInEngine::tokenizer() const {
  if (!loaded_.tokenizer) {
    throw Error(info().name, "has no tokenizer.json; add it to the model folder or give token ids");
  }
  return *loaded_.tokenizer;
}

/// The weights, unless they are there.
void BuiltInEngine::load() {
  if (loaded_.model) return;
  load_weights(options_, loaded_);
  warm_up();
}

/// On a GPU a full chunk and a step over made-up tokens: kernels are loaded and routines chosen
/// before the first request is timed. What does not fit yet is left to the first request.
void BuiltInEngine::warm_up() {
  if (loaded_.backend->device() == Device::cpu) return;
  // Tokens that differ: on constant data a GPU is faster, and other routines would be chosen.
  std::vector<TokenId> tokens(static_cast<std::size_t>(info().chunk));
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = static_cast<TokenId>(i * 7919 % static_cast<std::size_t>(loaded_.config.vocab));
  }
  try {
    prepare(info().chunk + 1, 1, 0);
  } catch (const OutOfMemory&) {
    return;
  }
  trace_.set_on(false);  // a profiler sees the ranges of requests only
  ExecutionContext context = start_request(info().chunk);
  loaded_.backend->set_tuning(true);
  const TensorView hidden =
      loaded_.model->forward(tokens, sequence_->state, sequence_->work, context);
  loaded_.backend->set_tuning(false);
  sample(hidden.row_range(hidden.rows - 1, 1), context);
  loaded_.backend->set_sampled(0);
  step(context);
  loaded_.backend->wait();
  sequence_.reset();
}

void BuiltInEngine::check_tokens(const char* where, std::span<const TokenId> tokens) const {
  if (tokens.empty()) throw Error(where, "is empty; give at least one token");
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= loaded_.config.vocab) {
      throw Error(where, "token {} at position {} is outside the vocabulary of {}", tokens[i], i,
                  loaded_.config.vocab);
    }
  }
}

void BuiltInEngine::check(const Request& request) const {
  check_tokens("prompt", request.prompt);
  if (request.max_new_tokens < 0) {
    throw Error("max_new_tokens", "is {}; expected 0 or more", request.max_new_tokens);
  }
  if (!request.forced.empty()) {
    check_tokens("forced", request.forced);
    if (static_cast<std::int64_t>(request.forced.size()) != request.max_new_tokens) {
      throw Error("forced", "has {} tokens, max_new_tokens is {}; expected as many or none",
                  request.forced.size(), request.max_new_tokens);
    }
  }
  const auto n_prompt = static_cast<std::int64_t>(request.prompt.size());
  std::int64_t least = 0;
  for (const std::int64_t position : request.selection.positions) {
    const std::int64_t end = n_prompt + request.max_new_tokens;
    if (position < least || position >= end) {
      throw Error("selection.positions",
                  "holds {}; expected ascending positions of the {} tokens of prompt and answer",
                  position, end);
    }
    least = position + 1;
  }
  for (const auto& [begin, end] : request.selection.needles) {
    if (begin < 0 || begin >= end || end > n_prompt) {
      throw Error("selection.needles", "holds [{}, {}); expected tokens of the prompt's {}", begin,
                  end, n_prompt);
    }
  }
}

/// Room for a sequence, its state empty. What a request holds never depends on earlier requests: a
/// state of another size is not reused.
void BuiltInEngine::prepare(std::int64_t n_tokens, std::int64_t n_logit_rows,
                            std::int64_t result_bytes) {
  Backend& backend = *loaded_.backend;
  std::vector<CategoryBytes> plan = loaded_.blueprint->plan(n_tokens, info().chunk, n_logit_rows);
  for (const CategoryBytes& row : plan) backend.ledger().plan(row.category, row.bytes);
  add_bytes(plan, "logits", result_bytes);
  check_fits(plan, backend, options_.memory_limit_bytes);

  const std::int64_t capacity = sequence_capacity(n_tokens);
  if (sequence_ && (sequence_->capacity != capacity || sequence_->logits.rows != n_logit_rows)) {
    sequence_.reset();
  }
  backend.ledger().restart_peaks();
  if (sequence_) {
    sequence_->state.clear();
    return;
  }
  sequence_ = std::make_unique<Sequence>(*loaded_.model, backend, capacity,
                                         std::min(info().chunk, capacity), n_logit_rows);
}

ExecutionContext BuiltInEngine::start_request(std::int64_t prefill_end) {
  trace_.clear();
  trace_.set_phase("prefill");
  chunk_ns_.clear();
  route_.clear();
  return {*loaded_.backend, sequence_->scratch, trace_, route_, 0, prefill_end};
}

/// Returns the hidden rows of the last chunk.
TensorView BuiltInEngine::prefill(std::span<const TokenId> prompt, ExecutionContext& context,
                                  const VisitChunk& visit) {
  TensorView hidden;
  const auto chunk = static_cast<std::size_t>(info().chunk);
  Clock::time_point previous = Clock::now();
  for (std::size_t first = 0; first < prompt.size(); first += chunk) {
    const auto ids = prompt.subspan(first, std::min(chunk, prompt.size() - first));
    const RangeScope range(trace_, "prefill", RangeKind::phase, static_cast<std::int64_t>(first));
    hidden = loaded_.model->forward(ids, sequence_->state, sequence_->work, context);
    visit(hidden, static_cast<std::int64_t>(first));
    if (!trace_.is_on()) continue;
    trace_.settle();
    const Clock::time_point now = Clock::now();
    chunk_ns_.push_back(ns_between(previous, now));
    previous = now;
  }
  return hidden;
}

template <typename Visit>
void BuiltInEngine::for_each_logits(TensorView hidden, std::int64_t first_position,
                                    ExecutionContext& context, const Visit& visit) {
  const auto vocab = static_cast<std::size_t>(loaded_.config.vocab);
  const bool round = rounds_logits();
  for (std::int64_t first = 0; first < hidden.rows; first += sequence_->logits.rows) {
    const std::int64_t n_rows = std::min(sequence_->logits.rows, hidden.rows - first);
    const TensorView logits = sequence_->logits.row_range(0, n_rows);
    loaded_.model->head(hidden.row_range(first, n_rows), logits, sequence_->work, context);
    host_logits_.resize(static_cast<std::size_t>(logits.size()));
    loaded_.backend->download(logits, host_logits_);
    for (std::int64_t i = 0; i < n_rows; ++i) {
      const auto row = std::span(host_logits_).subspan(static_cast<std::size_t>(i) * vocab, vocab);
      const std::int64_t position = first_position + first + i;
      bool is_finite = true;
      for (float& logit : row) {
        if (round) logit = round_to_bf16(logit);
        is_finite &= std::isfinite(logit);
      }
      if (!is_finite) fail_not_finite(position);
      visit(position, std::span<const float>(row));
    }
  }
}

void BuiltInEngine::fail_not_finite(std::int64_t position) const {
  throw Error(info().name,
              "the logits at position {} hold NaN or infinity; the weights are damaged or their "
              "range exceeds fp32",
              position);
}

void BuiltInEngine::sample(TensorView hidden, ExecutionContext& context) {
  const TensorView logits = sequence_->logits.row_range(0, 1);
  loaded_.model->head(hidden, logits, sequence_->work, context);
  loaded_.backend->sample_greedy(logits, rounds_logits());
}

void BuiltInEngine::step(ExecutionContext& context) {
  Sequence& sequence = *sequence_;
  const Model& model = *loaded_.model;
  if (context.selection != nullptr) {  // a recorded step takes no notice of it
    sample(model.step(sequence.state, sequence.work, context), context);
    return;
  }
  if (sequence.recorded_step) {
    const Span span(trace_, "replay", sequence.step_cost);
    sequence.recorded_step->run();
    model.replayed(sequence.state, context);
    return;
  }
  const auto step_with = [&](ExecutionContext& with) {
    sample(model.step(sequence.state, sequence.work, with), with);
  };
  // A kernel is loaded when it runs first, which cannot be recorded.
  if (sequence.has_stepped) {
    Trace untimed;
    untimed.set_phase(trace_.phase());
    ExecutionContext recorded{*loaded_.backend,   sequence.scratch, untimed, route_, 0,
                              context.prefill_end};
    sequence.recorded_step = loaded_.backend->record([&] { step_with(recorded); });
    if (sequence.recorded_step) {
      sequence.step_cost = untimed.total_cost();
      const Span span(trace_, "replay", sequence.step_cost);
      sequence.recorded_step->run();
      return;
    }
  }
  step_with(context);
  sequence.has_stepped = true;
}

Output BuiltInEngine::run(const Request& request) {
  load();
  const Clock::time_point start = Clock::now();
  check(request);
  const auto n_prompt = static_cast<std::int64_t>(request.prompt.size());
  prepare(std::max(n_prompt + request.max_new_tokens, request.room),
          request.prompt_logprobs ? logit_block(n_prompt) : 1, 0);
  trace_.set_on(options_.time_stages);
  ExecutionContext context = start_request(n_prompt);
  SelectionProbe probe{request.selection, {}};
  if (!request.selection.positions.empty() || request.selection.force_needles) {
    context.selection = &probe;
  }

  Output output;
  output.timing.start = start;
  answer(request, context, output);
  output.stages = trace_.stages();
  output.timeline = trace_.timeline();
  for (const StageTime& stage : output.stages) {
    output.timing.stage_overhead_ns += span_ns_ * static_cast<double>(stage.calls);
  }
  output.memory = loaded_.backend->ledger().uses();
  output.peak_bytes = loaded_.backend->ledger().peak_bytes();
  output.route = route_.entries();
  output.selection = std::move(probe.samples);
  const auto place = [](const SelectionSample& sample) {
    return std::tuple(sample.layer, sample.position, sample.kv_head);
  };
  std::sort(output.selection.begin(), output.selection.end(),
            [&](const auto& a, const auto& b) { return place(a) < place(b); });
  return output;
}

void BuiltInEngine::answer(const Request& request, ExecutionContext& context, Output& output) {
  const Clock::time_point start = output.timing.start;
  const auto n_prompt = static_cast<std::int64_t>(request.prompt.size());
  const RangeScope range(trace_, "request", RangeKind::phase, n_prompt);
  const TensorView hidden =
      prefill(request.prompt, context, [&](TensorView rows, std::int64_t first_position) {
        if (!request.prompt_logprobs) return;
        // The last position predicts the answer, not the prompt.
        const std::int64_t n_rows = std::min(rows.rows, n_prompt - 1 - first_position);
        for_each_logits(rows.row_range(0, n_rows), first_position, context,
                        [&](std::int64_t position, std::span<const float> logits) {
                          const TokenId next =
                              request.prompt[static_cast<std::size_t>(position) + 1];
                          output.prompt_logprobs.push_back(log_probability(logits, next));
                        });
      });
  loaded_.backend->wait();
  output.timing.prefill_ns = ns_between(start, Clock::now());
  output.timing.total_ns = output.timing.prefill_ns;
  output.timing.chunk_ns = chunk_ns_;
  if (request.max_new_tokens > 0) {
    decode(request, hidden.row_range(hidden.rows - 1, 1), start, context, output);
  }
}

/// Greedy or forced decoding from the hidden row of the last prompt token.
void BuiltInEngine::decode(const Request& request, TensorView hidden, Clock::time_point start,
                           ExecutionContext& context, Output& output) {
  const auto n_prompt = static_cast<std::int64_t>(request.prompt.size());
  Clock::time_point previous = start;
  sample(hidden, context);
  for (std::int64_t i = 0;; ++i) {
    const std::optional<TokenId> best = loaded_.backend->sampled();
    if (!best) fail_not_finite(n_prompt - 1 + i);
    TokenId next = *best;
    const Clock::time_point now = Clock::now();
    if (i == 0) {
      output.timing.ttft_ns = ns_between(start, now);
    } else {
      output.timing.itl_ns.push_back(ns_between(previous, now));
    }
    output.timing.total_ns = ns_between(start, now);
    previous = now;
    if (!request.forced.empty()) {
      next = request.forced[static_cast<std::size_t>(i)];
      loaded_.backend->set_sampled(next);
    } else if (is_eos(next)) {
      output.finish = Finish::eos;
      return;
    }
    output.tokens.push_back(next);
    if (i + 1 == request.max_new_tokens) return;
    trace_.set_phase("decode");
    const RangeScope range(trace_, "decode", RangeKind::phase, n_prompt + i);
    step(context);
  }
}

std::vector<float> BuiltInEngine::logits(std::span<const TokenId> tokens, std::int64_t last) {
  check_tokens("prompt", tokens);
  load();
  const auto n_tokens = static_cast<std::int64_t>(tokens.size());
  if (last < 0 || last > n_tokens) {
    throw Error("--last", "{} positions asked for, the prompt has {}", last, n_tokens);
  }
  const std::int64_t n_rows = last == 0 ? n_tokens : last;
  const std::int64_t vocab = loaded_.config.vocab;
  prepare(n_tokens, logit_block(n_rows), n_rows * vocab * dtype_bytes(DType::f32));
  trace_.set_on(false);
  ExecutionContext context = start_request(n_tokens);

  std::vector<float> result;
  result.reserve(static_cast<std::size_t>(n_rows * vocab));
  prefill(tokens, context, [&](TensorView rows, std::int64_t first_position) {
    const std::int64_t skip =
        std::clamp<std::int64_t>(n_tokens - n_rows - first_position, 0, rows.rows);
    for_each_logits(rows.row_range(skip, rows.rows - skip), first_position + skip, context,
                    [&](std::int64_t, std::span<const float> logits) {
                      result.insert(result.end(), logits.begin(), logits.end());
                    });
  });
  return result;
}

}  // namespace

std::unique_ptr<Engine> make_engine(const EngineOptions& options) {
  return std::make_unique<BuiltInEngine>(options);
}

}  // namespace sala
