// The model: blocks of mixer and MLP between an embedding table and a head.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/attention/attention.h"
#include "engine/model/config.h"

namespace sala {

/// Intermediate results of up to max_chunk tokens; one set serves all blocks in turn.
struct Activations {
  Activations(Backend& backend, const ModelConfig& config, std::int64_t max_chunk);
  static std::int64_t bytes(const ModelConfig& config, std::int64_t max_chunk, DType dtype);

  Tensor x;       // (max_chunk, hidden), the residual stream
  Tensor normed;  // (max_chunk, hidden)
};

/// Everything that a model remembers of one sequence.
class ModelState {
 public:
  explicit ModelState(std::vector<std::unique_ptr<LayerState>> layers)
      : layers_(std::move(layers)) {}
  std::int64_t length() const { return layers_.front()->length(); }  // tokens seen
  void clear();
  /// A copy with the same future; takes as much memory again.
  ModelState clone() const;
  LayerState& layer(std::size_t i) { return *layers_[i]; }

 private:
  std::vector<std::unique_ptr<LayerState>> layers_;
};

/// One layer: x += r * mix(norm(x)); x += r * mlp(norm(x)). Source: model reference §2.1.
class Block {
 public:
  Block(const ModelConfig& config, std::size_t layer, WeightSource& weights, Backend& backend);
  /// x: (n_tokens, hidden), changed in place. work: room for at least n_tokens.
  void forward(TensorView x, LayerState& state, const Activations& work,
               ExecutionContext& context) const;
  /// Scratch that forward() takes at most, in bytes.
  std::int64_t scratch_bytes(std::int64_t max_chunk, std::int64_t max_tokens, DType dtype) const;
  const AttentionLayer& mixer() const { return *mixer_; }

 private:
  std::string kind_;  // of the mixer
  float rms_norm_eps_;
  float residual_scale_;
  std::unique_ptr<AttentionLayer> mixer_;
  Tensor mixer_norm_;  // (1, hidden)
  Tensor mlp_norm_;    // (1, hidden)
  Tensor gate_;        // (intermediate, hidden)
  Tensor up_;          // (intermediate, hidden)
  Tensor down_;        // (hidden, intermediate)
};

/// Constant after load, so one Model serves many states.
class Model {
 public:
  Model(ModelConfig config, WeightSource& weights, Backend& backend);

  const ModelConfig& config() const { return config_; }
  ModelState new_state(std::int64_t max_tokens) const;
  /// Scratch that forward() needs for chunks of up to max_chunk tokens, in bytes.
  std::int64_t scratch_bytes(std::int64_t max_chunk, std::int64_t max_tokens, DType dtype) const;
  /// What one sequence needs beyond the weights and logits, by ledger category.
  std::vector<CategoryBytes> sequence_bytes(std::int64_t max_chunk, std::int64_t max_tokens,
                                            DType dtype) const;

  /// Runs the next ids.size() tokens through all blocks and extends `state`. Returns the hidden
  /// rows (ids.size(), hidden), a view of work.x that lasts until the next call.
  TensorView forward(std::span<const TokenId> ids, ModelState& state, const Activations& work,
                     ExecutionContext& context) const;
  /// forward() of the one token that the backend sampled last. `state` is the one that ran last, so
  /// that the backend knows its length.
  TensorView step(ModelState& state, const Activations& work, ExecutionContext& context) const;
  /// Accounts for a step() that ran by replaying a recorded one.
  void replayed(ModelState& state, ExecutionContext& context) const;
  /// logits (n, vocab) of hidden rows (n, hidden) from forward(); overwrites work.normed.
  void head(TensorView hidden, TensorView logits, const Activations& work,
            ExecutionContext& context) const;

 private:
  void run_blocks(TensorView x, ModelState& state, const Activations& work,
                  ExecutionContext& context) const;

  ModelConfig config_;
  std::vector<Block> blocks_;
  Tensor embedding_;  // (vocab, hidden)
  Tensor norm_;       // (1, hidden)
  Tensor head_;       // (vocab, hidden); empty when tied
};

/// Adds bytes to a category's row, or makes the row.
void add_bytes(std::vector<CategoryBytes>& plan, const std::string& category, std::int64_t bytes);

}  // namespace sala
