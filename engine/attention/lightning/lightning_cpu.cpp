// The linear-attention layer on the CPU: chunks as matrix products, short pieces by the recurrence.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <optional>

#include "engine/attention/lightning/lightning.h"
#include "engine/backend/cpu/gemm.h"
#include "engine/backend/cpu/parallel.h"
#include "engine/backend/cpu/vector_math.h"
#include "engine/base/error.h"
#include "engine/tensor/cost.h"

namespace sala {

namespace {

constexpr std::int64_t kChunk = 64;         // chunks start at multiples of it counted from token 0
constexpr std::int64_t kLeastProducts = 8;  // shorter pieces take the recurrence

/// Powers of one head's decay γ.
struct Decay {
  float once;                   // γ
  std::vector<float> reversed;  // (kChunk): scale * γ^(kChunk - 1 - i)
  std::vector<float> power;     // (kChunk + 1): γ^i
};

Decay decay_of(double slope, double scale) {
  Decay decay{static_cast<float>(std::exp(-slope)), {}, {}};
  for (std::int64_t i = 0; i <= kChunk; ++i) {
    decay.power.push_back(static_cast<float>(std::exp(-slope * static_cast<double>(i))));
  }
  for (std::int64_t i = kChunk - 1; i >= 0; --i) {
    decay.reversed.push_back(static_cast<float>(scale * std::exp(-slope * static_cast<double>(i))));
  }
  return decay;
}

/// Memory of one thread.
struct ChunkScratch {
  float* keys;    // (head_dim, kChunk), transposed
  float* values;  // (kChunk, head_dim), decayed to the end of the chunk
  float* scores;  // (kChunk, kChunk)
  float* out;     // (kChunk, head_dim)

  static std::int64_t floats(std::int64_t d) { return kChunk * (3 * d + kChunk); }
  static ChunkScratch at(float* memory, std::int64_t d) {
    return {memory, memory + kChunk * d, memory + 2 * kChunk * d,
            memory + kChunk * (2 * d + kChunk)};
  }
};

/// n rows of one head inside (n_tokens, row_stride) matrices; the result replaces q.
struct Rows {
  float* q;
  const float* k;
  const float* v;
  std::int64_t q_stride;
  std::int64_t kv_stride;
  std::int64_t n;
};

void run_recurrence(const Rows& x, const Decay& decay, float scale, std::int64_t d, float* state,
                    const ChunkScratch& scratch) {
  for (std::int64_t i = 0; i < x.n; ++i) {
    linear_step(x.q + i * x.q_stride, x.k + i * x.kv_stride, x.v + i * x.kv_stride, decay.once,
                scale, d, d, state, scratch.out);
    std::copy_n(scratch.out, d, x.q + i * x.q_stride);
  }
}

/// One chunk of n <= kChunk rows: model reference §4.3. Exponents are never positive.
void run_chunk(const Rows& x, const Decay& decay, float scale, std::int64_t d, float* state,
               const ChunkScratch& scratch) {
  transpose(x.k, x.kv_stride, x.n, d, scratch.keys, kChunk);
  // What the state holds, faded: scale γ^(i+1) q_i · S.
  gemm(x.n, d, d, x.q, x.q_stride, state, d, 0.0F, scratch.out, d);
  for (std::int64_t i = 0; i < x.n; ++i) {
    scale_row(scratch.out + i * d, scale * decay.power[static_cast<std::size_t>(i + 1)],
              scratch.out + i * d, d);
  }
  // What the chunk itself holds: scale γ^(i-j) (q_i · k_j) v_j for j <= i.
  gemm(x.n, x.n, d, x.q, x.q_stride, scratch.keys, kChunk, 0.0F, scratch.scores, kChunk);
  decay_lower_triangle(scratch.scores, kChunk, x.n, decay.reversed.data() + (kChunk - x.n));
  gemm(x.n, d, x.n, scratch.scores, kChunk, x.v, x.kv_stride, 1.0F, scratch.out, d);
  // The state at the end of the chunk: γ^n S + Σ γ^(n-1-j) k_jᵀ v_j.
  for (std::int64_t j = 0; j < x.n; ++j) {
    scale_row(x.v + j * x.kv_stride, decay.power[static_cast<std::size_t>(x.n - 1 - j)],
              scratch.values + j * d, d);
  }
  gemm(d, d, x.n, scratch.keys, kChunk, scratch.values, d,
       decay.power[static_cast<std::size_t>(x.n)], state, d);
  for (std::int64_t i = 0; i < x.n; ++i) {
    std::copy_n(scratch.out + i * d, d, x.q + i * x.q_stride);
  }
}

class LightningCpu final : public AttentionLayer {
 public:
  LightningCpu(const LayerSpec& spec, WeightSource& weights, Backend& backend)
      : backend_(backend), config_(LightningConfig::read(spec)) {
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
    for (const double slope : lightning_slopes(heads.n_heads)) {
      decays_.push_back(decay_of(slope, static_cast<double>(heads.scale)));
    }
  }

  std::vector<CategoryBytes> state_bytes(std::int64_t /*max_tokens*/) const override {
    return {{"linear_state", LightningState::bytes(config_.heads)}};
  }

  std::unique_ptr<LayerState> new_state(std::int64_t /*max_tokens*/) const override {
    return std::make_unique<LightningState>(backend_, config_.heads);
  }

  std::int64_t scratch_bytes(std::int64_t max_chunk, std::int64_t /*max_tokens*/) const override {
    const HeadOptions& heads = config_.heads;
    const std::int64_t kv = 2 * (max_chunk * heads.kv_dim() * 4 + 64);
    const std::int64_t scan =
        backend_.info().threads * ChunkScratch::floats(heads.head_dim) * 4 + 64;
    const std::int64_t q = max_chunk * heads.q_dim() * 4 + 64;
    return q + std::max(kv + scan, gate_ ? q : 0);
  }

  void forward(TensorView x, LayerState& state, float scale, TensorView out,
               ExecutionContext& context) const override {
    auto* own = dynamic_cast<LightningState*>(&state);
    SALA_CHECK(own != nullptr, "a layer runs on the states it made");
    const HeadOptions& heads = config_.heads;
    const Workspace::Mark mark(context.scratch);
    const TensorView q = context.scratch.take(x.rows, heads.q_dim());
    {
      const Workspace::Mark inner(context.scratch);
      const TensorView k = context.scratch.take(x.rows, heads.kv_dim());
      const TensorView v = context.scratch.take(x.rows, heads.kv_dim());
      project(x, own->length(), q, k, v, context);
      scan(q, k, v, *own, context);
    }
    finish(x, q, scale, out, context);
    context.route.add(context.layer, context.trace.phase(), "linear",
                      x.rows >= kLeastProducts ? "lightning_chunk_cpu" : "lightning_recurrent_cpu",
                      0, 0);
  }

 private:
  void project(TensorView x, std::int64_t first_position, TensorView q, TensorView k, TensorView v,
               ExecutionContext& context) const {
    const HeadOptions& heads = config_.heads;
    {
      const Span span(
          context.trace, "qkv",
          product_cost(x, q_.view, q) + product_cost(x, k_.view, k) + product_cost(x, v_.view, v));
      backend_.matmul(x, q_.view, q);
      backend_.matmul(x, k_.view, k);
      backend_.matmul(x, v_.view, v);
    }
    const Span span(context.trace, "norm_rope", pass_cost({q, q, k, k}));
    if (heads.qk_norm) {
      const TensorView q_heads = q.reshaped(heads.head_dim);
      const TensorView k_heads = k.reshaped(heads.head_dim);
      backend_.rms_norm(q_heads, q_norm_->view, heads.rms_norm_eps, q_heads);
      backend_.rms_norm(k_heads, k_norm_->view, heads.rms_norm_eps, k_heads);
    }
    if (heads.rope) {
      backend_.rotary(q, heads.rotary(), first_position);
      backend_.rotary(k, heads.rotary(), first_position);
    }
  }

  /// Replaces q by the mixed values and carries the state on, one head a task.
  void scan(TensorView q, TensorView k, TensorView v, LightningState& state,
            ExecutionContext& context) const {
    const HeadOptions& heads = config_.heads;
    const std::int64_t d = heads.head_dim;
    const std::int64_t start = state.length();
    const std::int64_t end = start + q.rows;
    const double flops =
        4.0 * static_cast<double>(q.size()) * static_cast<double>(d + std::min(kChunk, q.rows));
    Cost cost = pass_cost({q, q, k, v});
    cost.flops = flops;
    cost.bytes += static_cast<double>(2 * heads.n_heads * d * d * dtype_bytes(DType::f32));
    const Span span(context.trace, "linear_scan", cost);
    const int threads = backend_.info().threads;
    auto* memory =
        static_cast<float*>(context.scratch.take_bytes(threads * ChunkScratch::floats(d) * 4));
    parallel_for(threads, heads.n_heads, flops / kFlopsPerElement, [&](std::int64_t h, int thread) {
      const ChunkScratch scratch = ChunkScratch::at(memory + thread * ChunkScratch::floats(d), d);
      const Decay& decay = decays_[static_cast<std::size_t>(h)];
      for (std::int64_t t = start; t < end;) {
        const std::int64_t next = std::min(end, (t / kChunk + 1) * kChunk);
        const std::int64_t kv = (t - start) * k.cols + h / heads.group() * d;
        const Rows rows{q.f32() + (t - start) * q.cols + h * d,
                        k.f32() + kv,
                        v.f32() + kv,
                        q.cols,
                        k.cols,
                        next - t};
        const auto run = rows.n >= kLeastProducts ? run_chunk : run_recurrence;
        run(rows, decay, heads.scale, d, state.head(h), scratch);
        t = next;
      }
    });
    state.extend(q.rows);
  }

  void finish(TensorView x, TensorView mixed, float scale, TensorView out,
              ExecutionContext& context) const {
    if (o_norm_) {
      const Span span(context.trace, "out_norm", pass_cost({mixed, mixed}));
      backend_.rms_norm(mixed, o_norm_->view, config_.heads.rms_norm_eps, mixed);
    }
    if (gate_) {
      const Workspace::Mark mark(context.scratch);
      const TensorView gate = context.scratch.take(mixed.rows, mixed.cols);
      const Span span(context.trace, "gate",
                      product_cost(x, gate_->view, gate) + pass_cost({gate, mixed, mixed}));
      backend_.matmul(x, gate_->view, gate);
      backend_.sigmoid_mul(gate, mixed);
    }
    const Span span(context.trace, "out_proj",
                    product_cost(mixed, o_.view, out) + pass_cost({out}));
    backend_.matmul_add(mixed, o_.view, scale, out);
  }

  Backend& backend_;
  LightningConfig config_;
  Tensor q_, k_, v_, o_;
  std::optional<Tensor> gate_, o_norm_, q_norm_, k_norm_;
  std::vector<Decay> decays_;
};

}  // namespace

std::unique_ptr<AttentionLayer> make_lightning_cpu(const LayerSpec& spec, WeightSource& weights,
                                                   Backend& backend) {
  return std::make_unique<LightningCpu>(spec, weights, backend);
}

}  // namespace sala
