// The forward pass of every family: the shell of the model reference §2.1.
// SPDX-License-Identifier: Apache-2.0
#include "engine/model/model.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/tensor/cost.h"

namespace sala {
namespace {

/// Of a norm, which writes as much as it reads.
Cost norm_cost(TensorView x) {
  return pass_cost({x, x});
}

}  // namespace

void add_bytes(std::vector<CategoryBytes>& plan, const std::string& category, std::int64_t bytes) {
  for (CategoryBytes& row : plan) {
    if (row.category == category) {
      row.bytes += bytes;
      return;
    }
  }
  plan.push_back({category, bytes});
}

Activations::Activations(Backend& backend, const ModelConfig& config, std::int64_t max_chunk)
    : x(make_tensor(backend, max_chunk, config.hidden, "activations")),
      normed(make_tensor(backend, max_chunk, config.hidden, "activations")) {}

std::int64_t Activations::bytes(const ModelConfig& config, std::int64_t max_chunk, DType dtype) {
  return max_chunk * 2 * config.hidden * dtype_bytes(dtype);
}

void ModelState::clear() {
  for (const auto& layer : layers_) layer->clear();
}

ModelState ModelState::clone() const {
  std::vector<std::unique_ptr<LayerState>> copies;
  copies.reserve(layers_.size());
  for (const auto& layer : layers_) copies.push_back(layer->clone());
  return ModelState(std::move(copies));
}

Block::Block(const ModelConfig& config, std::size_t layer, WeightSource& weights, Backend& backend)
    : kind_(config.layers[layer].kind),
      rms_norm_eps_(config.rms_norm_eps),
      residual_scale_(config.residual_scale) {
  const std::string prefix = fmt::format("model.layers.{}.", layer);
  const std::int64_t hidden = config.hidden;
  const std::int64_t intermediate = config.intermediate;
  mixer_norm_ = weights.load(prefix + "input_layernorm.weight", 1, hidden);
  mixer_ = make_attention(config.layers[layer], weights, backend);
  mlp_norm_ = weights.load(prefix + "post_attention_layernorm.weight", 1, hidden);
  gate_ = weights.load(prefix + "mlp.gate_proj.weight", intermediate, hidden);
  up_ = weights.load(prefix + "mlp.up_proj.weight", intermediate, hidden);
  down_ = weights.load(prefix + "mlp.down_proj.weight", hidden, intermediate);
}

void Block::forward(TensorView x, LayerState& state, const Activations& work,
                    ExecutionContext& context) const {
  Backend& backend = context.backend;
  const TensorView normed = work.normed.view.row_range(0, x.rows);
  {
    const Span span(context.trace, "norm", norm_cost(x));
    backend.rms_norm(x, mixer_norm_.view, rms_norm_eps_, normed);
  }
  {
    const LayerKindScope kind(context.trace, kind_.c_str());
    mixer_->forward(normed, state, residual_scale_, x, context);
  }
  {
    const Span span(context.trace, "norm", norm_cost(x));
    backend.rms_norm(x, mlp_norm_.view, rms_norm_eps_, normed);
  }
  const Workspace::Mark mark(context.scratch);
  const TensorView inner = context.scratch.take(x.rows, gate_.view.rows);
  {
    const Workspace::Mark spare_mark(context.scratch);
    const TensorView spare = context.scratch.take(x.rows, gate_.view.rows);
    const Cost product = product_cost(normed, gate_.view, inner);
    const Span span(context.trace, "mlp_gate_up",
                    {2 * product.flops, product.bytes + static_cast<double>(up_.view.bytes())});
    backend.gated_matmul(normed, gate_.view, up_.view, spare, inner);
  }
  const Span span(context.trace, "mlp_down", product_cost(inner, down_.view, x) + pass_cost({x}));
  backend.matmul_add(inner, down_.view, residual_scale_, x);
}

std::int64_t Block::scratch_bytes(std::int64_t max_chunk, std::int64_t max_tokens,
                                  DType dtype) const {
  const std::int64_t mlp = 2 * (max_chunk * gate_.view.rows * dtype_bytes(dtype) + 64);
  return std::max(mlp, mixer_->scratch_bytes(max_chunk, max_tokens));
}

Model::Model(ModelConfig config, WeightSource& weights, Backend& backend)
    : config_(std::move(config)) {
  embedding_ = weights.load("model.embed_tokens.weight", config_.vocab, config_.hidden);
  blocks_.reserve(config_.layers.size());
  for (std::size_t i = 0; i < config_.layers.size(); ++i) {
    blocks_.emplace_back(config_, i, weights, backend);
  }
  norm_ = weights.load("model.norm.weight", 1, config_.hidden);
  if (!config_.tied) head_ = weights.load("lm_head.weight", config_.vocab, config_.hidden);
}

ModelState Model::new_state(std::int64_t max_tokens) const {
  std::vector<std::unique_ptr<LayerState>> layers;
  layers.reserve(blocks_.size());
  for (const Block& block : blocks_) layers.push_back(block.mixer().new_state(max_tokens));
  return ModelState(std::move(layers));
}

std::int64_t Model::scratch_bytes(std::int64_t max_chunk, std::int64_t max_tokens,
                                  DType dtype) const {
  std::int64_t bytes = 0;
  for (const Block& block : blocks_) {
    bytes = std::max(bytes, block.scratch_bytes(max_chunk, max_tokens, dtype));
  }
  return bytes;
}

std::vector<CategoryBytes> Model::sequence_bytes(std::int64_t max_chunk, std::int64_t max_tokens,
                                                 DType dtype) const {
  std::vector<CategoryBytes> plan;
  for (const Block& block : blocks_) {
    for (const CategoryBytes& row : block.mixer().state_bytes(max_tokens)) {
      add_bytes(plan, row.category, row.bytes);
    }
  }
  add_bytes(plan, "activations", Activations::bytes(config_, max_chunk, dtype));
  add_bytes(plan, "workspace", scratch_bytes(max_chunk, max_tokens, dtype));
  return plan;
}

TensorView Model::forward(std::span<const TokenId> ids, ModelState& state, const Activations& work,
                          ExecutionContext& context) const {
  const TensorView x = work.x.view.row_range(0, static_cast<std::int64_t>(ids.size()));
  context.backend.set_position(state.length());
  {
    const Span span(context.trace, "embed", pass_cost({x, x}));
    context.backend.embed(embedding_.view, ids, config_.scale_emb, x);
  }
  run_blocks(x, state, work, context);
  context.backend.set_position(state.length());
  return x;
}

TensorView Model::step(ModelState& state, const Activations& work,
                       ExecutionContext& context) const {
  const TensorView x = work.x.view.row_range(0, 1);
  {
    const Span span(context.trace, "embed", pass_cost({x, x}));
    context.backend.embed_sampled(embedding_.view, config_.scale_emb, x);
  }
  run_blocks(x, state, work, context);
  context.backend.advance_position();
  return x;
}

void Model::replayed(ModelState& state, ExecutionContext& context) const {
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    context.layer = static_cast<int>(i);
    blocks_[i].mixer().replayed(state.layer(i), context);
  }
}

void Model::run_blocks(TensorView x, ModelState& state, const Activations& work,
                       ExecutionContext& context) const {
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    context.layer = static_cast<int>(i);
    const RangeScope range(context.trace, "layer", RangeKind::layer, context.layer);
    blocks_[i].forward(x, state.layer(i), work, context);
  }
}

void Model::head(TensorView hidden, TensorView logits, const Activations& work,
                 ExecutionContext& context) const {
  Backend& backend = context.backend;
  const TensorView normed = work.normed.view.row_range(0, hidden.rows);
  const TensorView& table = config_.tied ? embedding_.view : head_.view;
  const Span span(context.trace, "lm_head",
                  norm_cost(hidden) + product_cost(normed, table, logits));
  backend.rms_norm(hidden, norm_.view, config_.rms_norm_eps, normed);
  if (config_.logit_divisor != 1) backend.scale(normed, 1 / config_.logit_divisor);
  backend.matmul(normed, table, logits);
}

}  // namespace sala
