// A model whose prompt goes through it in any pieces, with the logits of every position.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/loaded_model.h"

namespace sala::testing {

/// Logits of every position when the prompt goes through the model in the given pieces.
class PiecewiseModel {
 public:
  explicit PiecewiseModel(const EngineOptions& options, std::int64_t max_tokens)
      : loaded_(load_model(options)),
        max_tokens_(max_tokens),
        work_(*loaded_.backend, loaded_.config, max_tokens),
        scratch_(*loaded_.backend, loaded_.model->scratch_bytes(max_tokens, max_tokens,
                                                                loaded_.backend->compute_dtype())),
        logits_buffer_(loaded_.backend->allocate(
            max_tokens * loaded_.config.vocab * dtype_bytes(DType::f32), "logits")) {}

  Backend& backend() { return *loaded_.backend; }
  ModelState new_state() const { return loaded_.model->new_state(max_tokens_); }

  /// prefill_end: tokens in context when the prefill of the request ends.
  std::vector<float> forward(std::span<const TokenId> ids, ModelState& state,
                             std::int64_t prefill_end) {
    ExecutionContext context{*loaded_.backend, scratch_, trace_, route_, 0, prefill_end};
    return head(loaded_.model->forward(ids, state, work_, context), context);
  }

  /// The logits after one more token, by the path that decoding takes.
  std::vector<float> step(TokenId id, ModelState& state, std::int64_t prefill_end) {
    loaded_.backend->set_sampled(id);
    ExecutionContext context{*loaded_.backend, scratch_, trace_, route_, 0, prefill_end};
    return head(loaded_.model->step(state, work_, context), context);
  }

  std::vector<float> forward_in_pieces(std::span<const TokenId> ids,
                                       const std::vector<std::size_t>& pieces) {
    ModelState state = new_state();
    std::vector<float> all;
    std::size_t first = 0;
    for (const std::size_t n : pieces) {
      const auto part =
          forward(ids.subspan(first, n), state, static_cast<std::int64_t>(ids.size()));
      all.insert(all.end(), part.begin(), part.end());
      first += n;
    }
    return all;
  }

  /// Records a step() and its logits, to be run any number of times, each after another token was
  /// set with set_sampled(). Moves the state on by one without running.
  std::unique_ptr<Recording> record_step(ModelState& state, std::int64_t prefill_end) {
    ExecutionContext context{*loaded_.backend, scratch_, trace_, route_, 0, prefill_end};
    return loaded_.backend->record([&] {
      const TensorView hidden = loaded_.model->step(state, work_, context);
      loaded_.model->head(hidden, logits(hidden.rows), work_, context);
    });
  }
  /// Accounts for a run of the recorded step.
  void replayed(ModelState& state, std::int64_t prefill_end) {
    ExecutionContext context{*loaded_.backend, scratch_, trace_, route_, 0, prefill_end};
    loaded_.model->replayed(state, context);
  }
  /// What the last step left.
  std::vector<float> last_logits() { return downloaded(logits(1)); }
  const RouteLog& route() const { return route_; }

 private:
  TensorView logits(std::int64_t rows) const {
    return {logits_buffer_.data(), DType::f32, rows, loaded_.config.vocab};
  }
  std::vector<float> head(TensorView hidden, ExecutionContext& context) {
    const TensorView rows = logits(hidden.rows);
    loaded_.model->head(hidden, rows, work_, context);
    return downloaded(rows);
  }
  std::vector<float> downloaded(TensorView rows) {
    std::vector<float> host(static_cast<std::size_t>(rows.size()));
    loaded_.backend->download(rows, host);
    return host;
  }

  LoadedModel loaded_;
  std::int64_t max_tokens_;
  Activations work_;
  Workspace scratch_;
  Buffer logits_buffer_;
  Trace trace_;
  RouteLog route_;
};

}  // namespace sala::testing
