// What surrounds softmax attention, on any device.
// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "engine/attention/dense/dense.h"
#include "engine/tensor/cost.h"

namespace sala {

SoftmaxProjections::SoftmaxProjections(const HeadOptions& heads, const LayerSpec& spec,
                                       WeightSource& weights)
    : heads_(heads),
      q_(weights.load(spec.prefix + "q_proj.weight", heads.q_dim(), spec.hidden)),
      k_(weights.load(spec.prefix + "k_proj.weight", heads.kv_dim(), spec.hidden)),
      v_(weights.load(spec.prefix + "v_proj.weight", heads.kv_dim(), spec.hidden)),
      o_(weights.load(spec.prefix + "o_proj.weight", spec.hidden, heads.q_dim())) {
  if (heads.output_gate) {
    gate_ = weights.load(spec.prefix + "o_gate.weight", heads.q_dim(), spec.hidden);
  }
  if (heads.qk_norm) {
    q_norm_ = weights.load(spec.prefix + "q_norm.weight", 1, heads.head_dim);
    k_norm_ = weights.load(spec.prefix + "k_norm.weight", 1, heads.head_dim);
  }
}

void SoftmaxProjections::project(TensorView x, std::int64_t first_position, TensorView q,
                                 TensorView k, TensorView v, ExecutionContext& context) const {
  Backend& backend = context.backend;
  {
    const double x_bytes = static_cast<double>(x.bytes());
    Cost cost =
        product_cost(x, q_.view, q) + product_cost(x, k_.view, k) + product_cost(x, v_.view, v);
    cost.bytes -= 2 * x_bytes;  // read once for the three
    const Span span(context.trace, "qkv", cost);
    backend.matmul_each(x,
                        std::array{Product{q_.view, q}, Product{k_.view, k}, Product{v_.view, v}});
  }
  if (!heads_.qk_norm && !heads_.rope) return;
  const Span span(context.trace, "norm_rope", pass_cost({q, q, k, k}));
  const auto norm_rotate = [&](TensorView heads, const std::optional<Tensor>& norm) {
    if (norm && heads_.rope) {
      backend.norm_rotary(heads, norm->view, heads_.rms_norm_eps, heads_.rotary(), first_position);
    } else if (norm) {
      const TensorView rows = heads.reshaped(heads_.head_dim);
      backend.rms_norm(rows, norm->view, heads_.rms_norm_eps, rows);
    } else {
      backend.rotary(heads, heads_.rotary(), first_position);
    }
  };
  norm_rotate(q, q_norm_);
  norm_rotate(k, k_norm_);
}

void SoftmaxProjections::finish(TensorView x, TensorView attended, float scale, TensorView out,
                                ExecutionContext& context) const {
  Backend& backend = context.backend;
  if (gate_) {
    const Workspace::Mark mark(context.scratch);
    const TensorView gate = context.scratch.take(attended.rows, attended.cols);
    const Span span(context.trace, "gate",
                    product_cost(x, gate_->view, gate) + pass_cost({gate, attended, attended}));
    backend.matmul(x, gate_->view, gate);
    backend.sigmoid_mul(gate, attended);
  }
  const Span span(context.trace, "out_proj",
                  product_cost(attended, o_.view, out) + pass_cost({out}));
  backend.matmul_add(attended, o_.view, scale, out);
}

std::int64_t SoftmaxProjections::scratch_bytes(std::int64_t n_tokens) const {
  return gate_ ? n_tokens * heads_.q_dim() * dtype_bytes(gate_->view.dtype) + 64 : 0;
}

}  // namespace sala
