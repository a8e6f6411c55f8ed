// The full-attention layer on the GPU.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/dense/cuda/dense_cuda.h"

#include <algorithm>

#include "engine/attention/dense/cuda/append.h"
#include "engine/attention/dense/cuda/prefill.h"
#include "engine/attention/dense/cuda/step.h"
#include "engine/attention/dense/cuda/tiles.h"
#include "engine/attention/dense/dense.h"
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/cuda_error.h"
#include "engine/backend/cuda/cudnn_attention.h"
#include "engine/base/error.h"

namespace sala {

namespace {

namespace kernels = cuda::dense;

constexpr std::int64_t kAlign = 64;  // of every piece of scratch
/// Shorter calls, and states that could hold no longer ones, do without cuDNN.
constexpr std::int64_t kLeastCudnnRows = 1024;
constexpr std::int64_t kMostCudnnWorkspace = 8 << 20;

DenseConfig read_config(const LayerSpec& spec) {
  const DenseConfig config = DenseConfig::read(spec);
  const HeadOptions& heads = config.heads;
  if (heads.head_dim != 64 && heads.head_dim != 128) {
    throw Error(spec.prefix,
                "head_dim: expected 64 or 128 on device cuda, got {}; try --device cpu",
                heads.head_dim);
  }
  if (heads.group() > kernels::kMostGroup) {
    throw Error(spec.prefix,
                "n_heads / n_kv_heads: expected at most {} on device cuda, got {}; try --device "
                "cpu",
                kernels::kMostGroup, heads.group());
  }
  return config;
}

__nv_bfloat16* bf16(TensorView view) {
  return static_cast<__nv_bfloat16*>(view.data);
}

/// Keys and values of one sequence, each (n_kv_heads, capacity, head_dim), and the plan of cuDNN
/// for that capacity.
class DenseCudaState final : public LayerState {
 public:
  DenseCudaState(Backend& backend, const HeadOptions& heads, std::int64_t max_tokens)
      : backend_(backend),
        heads_(heads),
        max_tokens_(max_tokens),
        capacity_(kernels::cache_capacity(max_tokens)),
        k_(make_tensor(backend, heads.n_kv_heads * capacity_, heads.head_dim, "kv_full")),
        v_(make_tensor(backend, heads.n_kv_heads * capacity_, heads.head_dim, "kv_full")) {
    if (max_tokens < kLeastCudnnRows) return;
    const CudnnAttentionShape shape{static_cast<int>(heads.n_heads),
                                    static_cast<int>(heads.n_kv_heads),
                                    static_cast<int>(heads.head_dim), capacity_};
    const CudnnAttention& plan = shared_cudnn_attention(shape);
    if (!plan.available() || plan.workspace_bytes() > kMostCudnnWorkspace) return;
    cudnn_ = &plan;
    // It weighs values behind the last key with 0, which a NaN that memory may hold outlives.
    backend.fill_zero(v_.view);
  }

  static std::int64_t bytes(const HeadOptions& heads, std::int64_t max_tokens) {
    return 2 * kernels::cache_capacity(max_tokens) * heads.kv_dim() * dtype_bytes(DType::bf16);
  }

  std::int64_t length() const override { return length_; }
  void clear() override { length_ = 0; }
  std::unique_ptr<LayerState> clone() const override {
    auto copy = std::make_unique<DenseCudaState>(backend_, heads_, max_tokens_);
    copy->length_ = length_;
    for (std::int64_t head = 0; head < heads_.n_kv_heads && length_ > 0; ++head) {
      const std::int64_t first = head * capacity_;
      backend_.copy(k_.view.row_range(first, length_), copy->k_.view.row_range(first, length_));
      backend_.copy(v_.view.row_range(first, length_), copy->v_.view.row_range(first, length_));
    }
    return copy;
  }

  /// Makes room for n more tokens. Throws Error when they exceed max_tokens.
  void extend(std::int64_t n) {
    if (length_ + n > max_tokens_) {
      throw Error("attention", "{} tokens exceed the {} that the state was made for", length_ + n,
                  max_tokens_);
    }
    length_ += n;
  }
  std::int64_t capacity() const { return capacity_; }
  __nv_bfloat16* k() const { return bf16(k_.view); }
  __nv_bfloat16* v() const { return bf16(v_.view); }
  /// Null when cuDNN has no plan.
  const CudnnAttention* cudnn() const { return cudnn_; }

 private:
  Backend& backend_;
  HeadOptions heads_;
  std::int64_t max_tokens_;
  std::int64_t capacity_;
  std::int64_t length_ = 0;
  Tensor k_, v_;
  const CudnnAttention* cudnn_ = nullptr;
};

class DenseCuda final : public AttentionLayer {
 public:
  DenseCuda(const LayerSpec& spec, WeightSource& weights, Backend& backend)
      : backend_(static_cast<CudaBackend&>(backend)),
        config_(read_config(spec)),
        projections_(config_.heads, spec, weights) {}

  std::vector<CategoryBytes> state_bytes(std::int64_t max_tokens) const override {
    return {{"kv_full", DenseCudaState::bytes(config_.heads, max_tokens)}};
  }

  std::unique_ptr<LayerState> new_state(std::int64_t max_tokens) const override {
    return std::make_unique<DenseCudaState>(backend_, config_.heads, max_tokens);
  }

  std::int64_t scratch_bytes(std::int64_t max_chunk, std::int64_t max_tokens) const override {
    const HeadOptions& heads = config_.heads;
    const bool may_use_cudnn = max_chunk >= kLeastCudnnRows;
    const std::int64_t q_rows = may_use_cudnn ? cudnn_room(max_chunk) : max_chunk;
    const std::int64_t q = q_rows * heads.q_dim() * 2 + kAlign;
    const std::int64_t kv = 2 * (max_chunk * heads.kv_dim() * 2 + kAlign);
    const std::int64_t step = step_workspace_bytes(kernels::cache_capacity(max_tokens)) + kAlign;
    const std::int64_t cudnn = may_use_cudnn ? q + kMostCudnnWorkspace + kAlign : 0;
    return q + std::max({kv, step, cudnn + projections_.scratch_bytes(max_chunk)});
  }

  void forward(TensorView x, LayerState& state, float scale, TensorView out,
               ExecutionContext& context) const override {
    DenseCudaState& own = cast(state);
    const std::int64_t start = own.length();
    own.extend(x.rows);
    const Workspace::Mark mark(context.scratch);
    const bool use_cudnn = own.cudnn() != nullptr && x.rows >= kLeastCudnnRows;
    const std::int64_t room = use_cudnn ? cudnn_room(x.rows) : x.rows;
    const auto take = [&] {
      return context.scratch.take(room, config_.heads.q_dim()).row_range(0, x.rows);
    };
    const TensorView q = take();
    project(x, start, own, q, context);
    const char* kernel = nullptr;
    if (x.rows == 1) {
      kernel = attend_step(own, q, start, context);
      projections_.finish(x, q, scale, out, context);
    } else if (use_cudnn) {
      const TensorView attended = take();
      kernel = attend_cudnn(own, q, attended, start, context);
      projections_.finish(x, attended, scale, out, context);
    } else {
      kernel = attend_tiles(own, q, start, context);
      projections_.finish(x, q, scale, out, context);
    }
    log_route(start, x.rows, kernel, context);
  }

  void replayed(LayerState& state, ExecutionContext& context) const override {
    DenseCudaState& own = cast(state);
    own.extend(1);
    log_route(own.length() - 1, 1, kStepKernel, context);
  }

 private:
  static constexpr const char* kStepKernel = "softmax_step_cuda";

  static DenseCudaState& cast(LayerState& state) {
    auto* own = dynamic_cast<DenseCudaState*>(&state);
    SALA_CHECK(own != nullptr, "a layer runs on the states it made");
    return *own;
  }

  int n_heads() const { return static_cast<int>(config_.heads.n_heads); }
  int n_kv_heads() const { return static_cast<int>(config_.heads.n_kv_heads); }
  int head_dim() const { return static_cast<int>(config_.heads.head_dim); }
  std::int64_t step_workspace_bytes(std::int64_t capacity) const {
    return kernels::step_workspace_bytes(capacity, n_heads(), n_kv_heads(), head_dim());
  }
  /// Rows of q and of the output that must be there for the library to attend from `rows` of them.
  static std::int64_t cudnn_room(std::int64_t rows) {
    return (rows + CudnnAttention::kRows - 1) / CudnnAttention::kRows * CudnnAttention::kRows;
  }

  /// q of the new tokens; their keys and values go into the cache.
  void project(TensorView x, std::int64_t start, const DenseCudaState& own, TensorView q,
               ExecutionContext& context) const {
    const Workspace::Mark mark(context.scratch);
    const TensorView k = context.scratch.take(x.rows, config_.heads.kv_dim());
    const TensorView v = context.scratch.take(x.rows, config_.heads.kv_dim());
    projections_.project(x, start, q, k, v, context);
    const kernels::AppendParams append{.k = bf16(k),
                                       .v = bf16(v),
                                       .k_cache = own.k(),
                                       .v_cache = own.v(),
                                       .capacity = own.capacity(),
                                       .start = start,
                                       .position = x.rows == 1 ? backend_.position() : nullptr,
                                       .n_tokens = x.rows,
                                       .n_kv_heads = n_kv_heads(),
                                       .head_dim = head_dim()};
    const Span span(context.trace, "append", kernels::append_cost(append));
    SALA_CUDA(kernels::launch_append(append, backend_.stream()));
  }

  /// Attention of the one row of q, at the device's position, into q itself.
  const char* attend_step(const DenseCudaState& own, TensorView q, std::int64_t start,
                          ExecutionContext& context) const {
    const Workspace::Mark mark(context.scratch);
    const kernels::StepParams params{
        .q = bf16(q),
        .k = own.k(),
        .v = own.v(),
        .capacity = own.capacity(),
        .position = backend_.position(),
        .out = bf16(q),
        .partials =
            static_cast<float*>(context.scratch.take_bytes(step_workspace_bytes(own.capacity()))),
        .n_heads = n_heads(),
        .n_kv_heads = n_kv_heads(),
        .head_dim = head_dim(),
        .scale = config_.heads.scale};
    const Span span(context.trace, "attend", kernels::step_cost(params, start));
    SALA_CUDA(kernels::launch_step(params, backend_.stream()));
    return kStepKernel;
  }

  /// Of the rows of q, which begin at `start`.
  kernels::PrefillParams prefill_params(const DenseCudaState& own, TensorView q, TensorView out,
                                        std::int64_t start) const {
    return {.q = bf16(q),
            .k = own.k(),
            .v = own.v(),
            .capacity = own.capacity(),
            .out = bf16(out),
            .start = start,
            .n_tokens = q.rows,
            .n_heads = n_heads(),
            .n_kv_heads = n_kv_heads(),
            .head_dim = head_dim(),
            .scale = config_.heads.scale};
  }

  /// Into q itself.
  const char* attend_tiles(const DenseCudaState& own, TensorView q, std::int64_t start,
                           ExecutionContext& context) const {
    const kernels::PrefillParams params = prefill_params(own, q, q, start);
    const Span span(context.trace, "attend", kernels::prefill_cost(params));
    SALA_CUDA(kernels::launch_prefill(params, backend_.stream()));
    return "softmax_tiles_cuda";
  }

  const char* attend_cudnn(const DenseCudaState& own, TensorView q, TensorView out,
                           std::int64_t start, ExecutionContext& context) const {
    const Workspace::Mark mark(context.scratch);
    const Span span(context.trace, "attend",
                    kernels::prefill_cost(prefill_params(own, q, out, start)));
    const CudnnAttention& cudnn = *own.cudnn();
    void* workspace = context.scratch.take_bytes(cudnn.workspace_bytes());
    for (std::int64_t done = 0; done < q.rows; done += CudnnAttention::kRows) {
      const std::int64_t n = std::min(CudnnAttention::kRows, q.rows - done);
      cudnn.run({.q = bf16(q.row_range(done, n)),
                 .k = own.k(),
                 .v = own.v(),
                 .out = bf16(out.row_range(done, n)),
                 .n_rows = n,
                 .n_keys = start + done + n,
                 .scale = config_.heads.scale,
                 .workspace = workspace},
                backend_.stream());
    }
    return "softmax_cudnn";
  }

  void log_route(std::int64_t start, std::int64_t n_tokens, const char* kernel,
                 ExecutionContext& context) const {
    std::int64_t blocks = 0;
    for (std::int64_t t = start; t < start + n_tokens; ++t) blocks += t / kernels::kKeyTile + 1;
    blocks *= config_.heads.n_kv_heads;
    context.route.add(context.layer, context.trace.phase(), "dense", kernel, blocks, blocks);
  }

  CudaBackend& backend_;
  DenseConfig config_;
  SoftmaxProjections projections_;
};

}  // namespace

std::unique_ptr<AttentionLayer> make_dense_cuda(const LayerSpec& spec, WeightSource& weights,
                                                Backend& backend) {
  return std::make_unique<DenseCuda>(spec, weights, backend);
}

}  // namespace sala
