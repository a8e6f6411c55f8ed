// The linear-attention layer on the GPU.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/lightning/cuda/lightning_cuda.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <optional>

#include "engine/attention/lightning/cuda/output_gate.h"
#include "engine/attention/lightning/cuda/prefill.h"
#include "engine/attention/lightning/cuda/step.h"
#include "engine/attention/lightning/lightning.h"
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/cuda_error.h"
#include "engine/base/error.h"
#include "engine/tensor/cost.h"

namespace sala {

namespace {

namespace kernels = cuda::lightning;

constexpr std::int64_t kAlign = 64;  // of every piece of scratch

LightningConfig read_config(const LayerSpec& spec) {
  const LightningConfig config = LightningConfig::read(spec);
  const HeadOptions& heads = config.heads;
  if (heads.head_dim != 64 && heads.head_dim != 128) {
    throw Error(spec.prefix,
                "head_dim: expected 64 or 128 on device cuda, got {}; try --device cpu",
                heads.head_dim);
  }
  if (heads.q_dim() > kernels::kWidestGate) {
    throw Error(spec.prefix,
                "n_heads * head_dim: expected at most {} on device cuda, got {}; try --device cpu",
                kernels::kWidestGate, heads.q_dim());
  }
  return config;
}

__nv_bfloat16* bf16(TensorView view) {
  return static_cast<__nv_bfloat16*>(view.data);
}
const __nv_bfloat16* bf16(const std::optional<Tensor>& tensor) {
  return tensor ? bf16(tensor->view) : nullptr;
}

/// fp32 state (n_heads, head_dim of k, head_dim of v) of one sequence.
class LightningCudaState final : public LayerState {
 public:
  LightningCudaState(CudaBackend& backend, std::int64_t bytes)
      : backend_(backend), memory_(backend.allocate(bytes, "linear_state")) {
    clear();
  }

  std::int64_t length() const override { return length_; }
  void clear() override {
    length_ = 0;
    SALA_CUDA(cudaMemsetAsync(data(), 0, size(), backend_.stream()));
  }
  std::unique_ptr<LayerState> clone() const override {
    auto copy = std::make_unique<LightningCudaState>(backend_, memory_.bytes());
    copy->length_ = length_;
    SALA_CUDA(
        cudaMemcpyAsync(copy->data(), data(), size(), cudaMemcpyDeviceToDevice, backend_.stream()));
    return copy;
  }
  void extend(std::int64_t n) { length_ += n; }
  float* data() const { return static_cast<float*>(memory_.data()); }

 private:
  std::size_t size() const { return static_cast<std::size_t>(memory_.bytes()); }

  CudaBackend& backend_;
  Buffer memory_;
  std::int64_t length_ = 0;
};

/// q, k, v and z of a call.
struct Projected {
  TensorView q, k, v, z;
};

class LightningCuda final : public AttentionLayer {
 public:
  LightningCuda(const LayerSpec& spec, WeightSource& weights, Backend& backend)
      : backend_(static_cast<CudaBackend&>(backend)),
        config_(read_config(spec)),
        slope_log2_(upload_slopes(backend_, config_.heads.n_heads)) {
    const HeadOptions& heads = config_.heads;
    const auto load = [&](const char* name, std::int64_t rows, std::int64_t cols) {
      return weights.load(spec.prefix + name, rows, cols);
    };
    q_ = load("q_proj.weight", heads.q_dim(), spec.hidden);
    k_ = load("k_proj.weight", heads.kv_dim(), spec.hidden);
    v_ = load("v_proj.weight", heads.kv_dim(), spec.hidden);
    o_ = load("o_proj.weight", spec.hidden, heads.q_dim());
    if (heads.output_gate) gate_ = load("z_proj.weight", heads.q_dim(), spec.hidden);
    if (config_.output_norm) o_norm_ = load("o_norm.weight", 1, heads.q_dim());
    if (heads.qk_norm) {
      q_norm_ = load("q_norm.weight", 1, heads.head_dim);
      k_norm_ = load("k_norm.weight", 1, heads.head_dim);
    }
  }

  std::vector<CategoryBytes> state_bytes(std::int64_t /*max_tokens*/) const override {
    return {{"linear_state", LightningState::bytes(config_.heads)}};
  }

  std::unique_ptr<LayerState> new_state(std::int64_t /*max_tokens*/) const override {
    return std::make_unique<LightningCudaState>(backend_, LightningState::bytes(config_.heads));
  }

  std::int64_t scratch_bytes(std::int64_t max_chunk, std::int64_t /*max_tokens*/) const override {
    const HeadOptions& heads = config_.heads;
    const std::int64_t q = max_chunk * heads.q_dim() * 2 + kAlign;
    const std::int64_t kv = max_chunk * heads.kv_dim() * 2 + kAlign;
    const std::int64_t step = heads.q_dim() * 2 + kAlign;
    return (gate_ ? 2 : 1) * q + 2 * kv + std::max(step, workspace_bytes(max_chunk) + kAlign);
  }

  void forward(TensorView x, LayerState& state, float scale, TensorView out,
               ExecutionContext& context) const override {
    LightningCudaState& own = cast(state);
    const Workspace::Mark mark(context.scratch);
    const Projected projected = project(x, context);
    TensorView mixed = projected.q;
    if (x.rows == 1) {
      mixed = context.scratch.take(1, config_.heads.q_dim());
      step(projected, own, mixed, context);
    } else {
      prefill(projected, own, context);
    }
    own.extend(x.rows);
    finish(projected, mixed, scale, out, context);
    log_route(x.rows, context);
  }

  void replayed(LayerState& state, ExecutionContext& context) const override {
    cast(state).extend(1);
    log_route(1, context);
  }

 private:
  static LightningCudaState& cast(LayerState& state) {
    auto* own = dynamic_cast<LightningCudaState*>(&state);
    SALA_CHECK(own != nullptr, "a layer runs on the states it made");
    return *own;
  }

  /// Decay rates in units of log2, as the kernels take them.
  static Buffer upload_slopes(CudaBackend& backend, std::int64_t n_heads) {
    std::vector<float> slopes;
    for (const double slope : lightning_slopes(n_heads)) {
      slopes.push_back(static_cast<float>(slope * std::numbers::log2e));
    }
    const std::size_t bytes = slopes.size() * sizeof(float);
    Buffer buffer = backend.allocate(static_cast<std::int64_t>(bytes), "workspace");
    SALA_CUDA(cudaMemcpyAsync(buffer.data(), slopes.data(), bytes, cudaMemcpyHostToDevice,
                              backend.stream()));
    backend.wait();
    return buffer;
  }

  int n_heads() const { return static_cast<int>(config_.heads.n_heads); }
  int n_kv_heads() const { return static_cast<int>(config_.heads.n_kv_heads); }
  int head_dim() const { return static_cast<int>(config_.heads.head_dim); }
  const float* slope_log2() const { return static_cast<const float*>(slope_log2_.data()); }
  std::int64_t workspace_bytes(std::int64_t n_tokens) const {
    return kernels::prefill_workspace_bytes(n_tokens, n_heads(), head_dim());
  }

  Projected project(TensorView x, ExecutionContext& context) const {
    const HeadOptions& heads = config_.heads;
    Projected projected;
    projected.q = context.scratch.take(x.rows, heads.q_dim());
    projected.k = context.scratch.take(x.rows, heads.kv_dim());
    projected.v = context.scratch.take(x.rows, heads.kv_dim());
    if (gate_) projected.z = context.scratch.take(x.rows, heads.q_dim());
    Cost cost = pass_cost({x});
    for (const auto& [weight, out] :
         {std::pair{&q_, projected.q}, std::pair{&k_, projected.k}, std::pair{&v_, projected.v}}) {
      cost = cost + product_cost(x, weight->view, out);
    }
    if (gate_) cost = cost + product_cost(x, gate_->view, projected.z);
    cost.bytes -= static_cast<double>((gate_ ? 4 : 3) * x.bytes());  // read once for all
    const Span span(context.trace, "qkv", cost);
    const std::array products{Product{q_.view, projected.q}, Product{k_.view, projected.k},
                              Product{v_.view, projected.v},
                              gate_ ? Product{gate_->view, projected.z} : Product{}};
    backend_.matmul_each(x, std::span(products).first(gate_ ? 4 : 3));
    return projected;
  }

  /// Many tokens: the result replaces q.
  void prefill(const Projected& projected, const LightningCudaState& own,
               ExecutionContext& context) const {
    const HeadOptions& heads = config_.heads;
    if (heads.qk_norm || heads.rope) {
      const Span span(context.trace, "norm_rope",
                      pass_cost({projected.q, projected.q, projected.k, projected.k}));
      norm_rotate(projected.q, q_norm_, own.length());
      norm_rotate(projected.k, k_norm_, own.length());
    }
    const Workspace::Mark mark(context.scratch);
    const kernels::PrefillParams params{
        .q = bf16(projected.q),
        .k = bf16(projected.k),
        .v = bf16(projected.v),
        .out = bf16(projected.q),
        .state = own.data(),
        .workspace = context.scratch.take_bytes(workspace_bytes(projected.q.rows)),
        .slope_log2 = slope_log2(),
        .start = own.length(),
        .n_tokens = projected.q.rows,
        .n_heads = n_heads(),
        .n_kv_heads = n_kv_heads(),
        .head_dim = head_dim(),
        .scale = heads.scale};
    const Span span(context.trace, "linear_scan", kernels::prefill_cost(params));
    SALA_CUDA(kernels::launch_prefill(params, backend_.stream()));
  }

  void norm_rotate(TensorView x, const std::optional<Tensor>& norm, std::int64_t start) const {
    const HeadOptions& heads = config_.heads;
    if (norm && heads.rope) {
      backend_.norm_rotary(x, norm->view, heads.rms_norm_eps, heads.rotary(), start);
    } else if (norm) {
      const TensorView rows = x.reshaped(heads.head_dim);
      backend_.rms_norm(rows, norm->view, heads.rms_norm_eps, rows);
    } else {
      backend_.rotary(x, heads.rotary(), start);
    }
  }

  /// One token at the device's position; norms and rotation are part of the kernel.
  void step(const Projected& projected, const LightningCudaState& own, TensorView mixed,
            ExecutionContext& context) const {
    const HeadOptions& heads = config_.heads;
    kernels::StepParams params{.q = bf16(projected.q),
                               .k = bf16(projected.k),
                               .v = bf16(projected.v),
                               .q_norm = bf16(q_norm_),
                               .k_norm = bf16(k_norm_),
                               .rms_norm_eps = heads.rms_norm_eps,
                               .rotates = heads.rope.has_value(),
                               .position = backend_.position(),
                               .out = bf16(mixed),
                               .state = own.data(),
                               .slope_log2 = slope_log2(),
                               .n_heads = n_heads(),
                               .n_kv_heads = n_kv_heads(),
                               .head_dim = head_dim(),
                               .scale = heads.scale};
    if (heads.rope) {
      params.exact_angle = heads.rope->exact_angle;
      for (std::int64_t i = 0; i < heads.head_dim / 2; ++i) {
        params.inv_freq[i] = heads.rotary().frequency(i);
      }
    }
    const Span span(context.trace, "linear_scan", kernels::step_cost(params));
    SALA_CUDA(kernels::launch_step(params, backend_.stream()));
  }

  void finish(const Projected& projected, TensorView mixed, float scale, TensorView out,
              ExecutionContext& context) const {
    if (o_norm_ || gate_) {
      const kernels::OutputGateParams params{.x = bf16(mixed),
                                             .gate = bf16(projected.z),
                                             .norm = bf16(o_norm_),
                                             .rms_norm_eps = config_.heads.rms_norm_eps,
                                             .out = bf16(mixed),
                                             .n_tokens = mixed.rows,
                                             .width = mixed.cols};
      const Span span(context.trace, "gate", kernels::output_gate_cost(params));
      SALA_CUDA(kernels::launch_output_gate(params, backend_.stream()));
    }
    const Span span(context.trace, "out_proj",
                    product_cost(mixed, o_.view, out) + pass_cost({out}));
    backend_.matmul_add(mixed, o_.view, scale, out);
  }

  static void log_route(std::int64_t n_tokens, ExecutionContext& context) {
    context.route.add(context.layer, context.trace.phase(), "linear",
                      n_tokens == 1 ? "lightning_step_cuda" : "lightning_segments_cuda", 0, 0);
  }

  CudaBackend& backend_;
  LightningConfig config_;
  Buffer slope_log2_;
  Tensor q_, k_, v_, o_;
  std::optional<Tensor> gate_, o_norm_, q_norm_, k_norm_;
};

}  // namespace

std::unique_ptr<AttentionLayer> make_lightning_cuda(const LayerSpec& spec, WeightSource& weights,
                                                    Backend& backend) {
  return std::make_unique<LightningCuda>(spec, weights, backend);
}

}  // namespace sala
