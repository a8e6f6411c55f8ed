// The block-sparse attention layer on the GPU.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/cuda/infllm_v2_cuda.h"

#include <algorithm>
#include <bit>

#include "engine/attention/dense/dense.h"
#include "engine/attention/infllm_v2/cuda/append.h"
#include "engine/attention/infllm_v2/cuda/attend.h"
#include "engine/attention/infllm_v2/cuda/downloaded_blocks.h"
#include "engine/attention/infllm_v2/cuda/score.h"
#include "engine/attention/infllm_v2/cuda/select.h"
#include "engine/attention/infllm_v2/infllm_v2_config.h"
#include "engine/attention/infllm_v2/selection_fidelity.h"
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/cuda_error.h"
#include "engine/backend/cuda/hopper.h"
#include "engine/base/error.h"

namespace sala {

namespace {

namespace kernels = cuda::infllm_v2;

constexpr std::int64_t kMostScores = std::int64_t{1} << 28;  // block scores kept at a time
constexpr std::int64_t kAlign = 64;                          // of every piece of scratch

/// The options, when there are kernels for them.
InfllmV2Config read_config(const LayerSpec& spec) {
  const InfllmV2Config config = InfllmV2Config::read(spec);
  const HeadOptions& heads = config.heads;
  const auto refuse = [&](const char* option, const char* expected, std::int64_t got) {
    throw Error(spec.prefix, "{}: expected {} on device cuda, got {}; try --device cpu", option,
                expected, got);
  };
  if (config.stride != kernels::kStride) refuse("kernel_stride", "16", config.stride);
  if (heads.head_dim != 64 && heads.head_dim != 128)
    refuse("head_dim", "64 or 128", heads.head_dim);
  if (heads.group() > kernels::kRows) {
    refuse("n_heads / n_kv_heads", "at most 16", heads.group());
  }
  if (config.sparse_on && config.n_selected() > kernels::kListEntries) {
    refuse("topk + window_size / block_size", "at most 640", config.n_selected());
  }
  if (config.fp32_scores) {
    throw Error(spec.prefix,
                "select_score: expected bf16 on device cuda, got fp32; try --device cpu");
  }
  return config;
}

__nv_bfloat16* bf16(const Tensor& tensor) {
  return static_cast<__nv_bfloat16*>(tensor.view.data);
}
__nv_bfloat16* bf16(TensorView view) {
  return static_cast<__nv_bfloat16*>(view.data);
}

/// Keys, values and compressed keys of one sequence, one row of head_dim each.
class InfllmV2CudaState final : public LayerState {
 public:
  InfllmV2CudaState(Backend& backend, const HeadOptions& heads, std::int64_t max_tokens)
      : backend_(backend),
        heads_(heads),
        max_tokens_(max_tokens),
        capacity_(rounded(max_tokens)),
        k_(rows(1, "kv_sparse")),
        v_(rows(1, "kv_sparse")),
        k1_(rows(kernels::kStride, "sparse_index")),
        k2_(rows(kernels::kBlock, "sparse_index")) {}

  static std::vector<CategoryBytes> bytes(const HeadOptions& heads, std::int64_t max_tokens) {
    const std::int64_t row = heads.kv_dim() * dtype_bytes(DType::bf16);
    const std::int64_t capacity = rounded(max_tokens);
    return {{"kv_sparse", 2 * capacity * row},
            {"sparse_index", (capacity / kernels::kStride + capacity / kernels::kBlock) * row}};
  }

  std::int64_t length() const override { return length_; }
  void clear() override { length_ = 0; }
  std::unique_ptr<LayerState> clone() const override {
    auto copy = std::make_unique<InfllmV2CudaState>(backend_, heads_, max_tokens_);
    copy->length_ = length_;
    copy_rows(k_, copy->k_, 1, length_);
    copy_rows(v_, copy->v_, 1, length_);
    for (const auto& [from, to, step] :
         {std::tuple{&k1_, &copy->k1_, kernels::kStride}, {&k2_, &copy->k2_, kernels::kBlock}}) {
      copy_rows(*from, *to, step, kernels::n_windows(length_, step));
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
  kernels::Cache cache() const { return {bf16(k_), bf16(v_), bf16(k1_), bf16(k2_), capacity_}; }

 private:
  static std::int64_t rounded(std::int64_t tokens) {
    return kernels::ceil_div(tokens, kernels::kBlock) * kernels::kBlock;
  }
  Tensor rows(std::int64_t step, const char* category) const {
    return make_tensor(backend_, heads_.n_kv_heads * (capacity_ / step), heads_.head_dim, category);
  }
  void copy_rows(const Tensor& from, const Tensor& to, std::int64_t step, std::int64_t n) const {
    for (std::int64_t head = 0; head < heads_.n_kv_heads && n > 0; ++head) {
      const std::int64_t first = head * (capacity_ / step);
      backend_.copy(from.view.row_range(first, n), to.view.row_range(first, n));
    }
  }

  Backend& backend_;
  HeadOptions heads_;
  std::int64_t max_tokens_;
  std::int64_t capacity_;
  std::int64_t length_ = 0;
  Tensor k_, v_, k1_, k2_;
};

class InfllmV2Cuda final : public AttentionLayer {
 public:
  InfllmV2Cuda(const LayerSpec& spec, WeightSource& weights, Backend& backend)
      : backend_(static_cast<CudaBackend&>(backend)),
        where_(spec.prefix),
        config_(read_config(spec)),
        shape_{config_.heads.n_kv_heads,
               config_.heads.group(),
               config_.heads.head_dim,
               config_.heads.scale,
               config_.init_blocks,
               config_.local_blocks,
               config_.topk},
        hopper_(cuda::is_hopper(backend_.properties())),
        projections_(config_.heads, spec, weights) {}

  std::vector<CategoryBytes> state_bytes(std::int64_t max_tokens) const override {
    return InfllmV2CudaState::bytes(config_.heads, max_tokens);
  }

  std::unique_ptr<LayerState> new_state(std::int64_t max_tokens) const override {
    constexpr std::int64_t kMostTokens = kernels::kMostBlocks * kernels::kBlock;
    if (max_tokens > kMostTokens) {
      throw Error(where_, "length: expected at most {} tokens on device cuda, got {}", kMostTokens,
                  max_tokens);
    }
    return std::make_unique<InfllmV2CudaState>(backend_, config_.heads, max_tokens);
  }

  std::int64_t scratch_bytes(std::int64_t max_chunk, std::int64_t max_tokens) const override {
    const HeadOptions& heads = config_.heads;
    const std::int64_t q = max_chunk * heads.q_dim() * 2 + kAlign;
    const std::int64_t kv = 2 * (max_chunk * heads.kv_dim() * 2 + kAlign);
    return q +
           std::max({kv, projections_.scratch_bytes(max_chunk),
                     rows_scratch_bytes(max_chunk, max_tokens), step_scratch_bytes(max_tokens)});
  }

  void forward(TensorView x, LayerState& state, float scale, TensorView out,
               ExecutionContext& context) const override {
    InfllmV2CudaState& own = cast(state);
    const HeadOptions& heads = config_.heads;
    const std::int64_t start = own.length();
    const bool one = x.rows == 1;
    own.extend(x.rows);
    const Workspace::Mark mark(context.scratch);
    const TensorView q = context.scratch.take(x.rows, heads.q_dim());
    {
      const Workspace::Mark inner(context.scratch);
      const TensorView k = context.scratch.take(x.rows, heads.kv_dim());
      const TensorView v = context.scratch.take(x.rows, heads.kv_dim());
      projections_.project(x, start, q, k, v, context);
      const kernels::AppendParams append{.k = bf16(k),
                                         .v = bf16(v),
                                         .cache = own.cache(),
                                         .shape = shape_,
                                         .start = start,
                                         .n_tokens = x.rows,
                                         .position = one ? backend_.position() : nullptr};
      const Span span(context.trace, "append", kernels::append_cost(append));
      SALA_CUDA(kernels::launch_append(append, backend_.stream()));
    }
    const std::int64_t ranked = ranked_begin(start, context.prefill_end);
    if (one) {
      attend_step(own, q, start, ranked, context);
    } else {
      attend_rows(own, q, start, ranked, context);
    }
    projections_.finish(x, q, scale, out, context);
    log_route(start, x.rows, context);
  }

  void replayed(LayerState& state, ExecutionContext& context) const override {
    InfllmV2CudaState& own = cast(state);
    own.extend(1);
    log_route(own.length() - 1, 1, context);
  }

 private:
  static InfllmV2CudaState& cast(LayerState& state) {
    auto* own = dynamic_cast<InfllmV2CudaState*>(&state);
    SALA_CHECK(own != nullptr, "a layer runs on the states it made");
    return *own;
  }

  /// First position whose blocks are ranked, as a call that begins at `start` sees it. Beyond the
  /// prompt it does not depend on the prompt, so that recorded work serves any other.
  std::int64_t ranked_begin(std::int64_t start, std::int64_t prefill_end) const {
    if (!config_.sparse_on) return kernels::kNever;
    const std::int64_t must = shape_.n_selected() * kernels::kBlock;
    const bool whole_prompt = !config_.dense_rule_row && start < prefill_end;
    if (whole_prompt && prefill_end >= config_.dense_len) return must;
    return std::max(must, config_.dense_len - 1);
  }
  /// Whether any row of so long a sequence may have to rank its blocks.
  bool may_rank(std::int64_t max_tokens) const {
    return config_.sparse_on && config_.must_rank(max_tokens - 1);
  }

  // Sizes that follow from the number of tokens up to and including the last row.
  static std::int64_t mask_stride(std::int64_t n_tokens) {
    return kernels::mask_words((n_tokens - 1) / kernels::kBlock);
  }
  std::int64_t score_stride(std::int64_t n_tokens) const {
    return kernels::padded_scores(shape_.candidates_end((n_tokens - 1) / kernels::kBlock));
  }
  /// Rows whose scores are kept at a time: whole tiles.
  std::int64_t slab_tokens(std::int64_t stride) const {
    const std::int64_t tile = kernels::kScoreTile;
    const std::int64_t row = shape_.n_kv_heads * stride;
    return std::max(tile, kMostScores / row / tile * tile);
  }

  std::int64_t rows_scratch_bytes(std::int64_t max_chunk, std::int64_t max_tokens) const {
    if (!may_rank(max_tokens)) return 0;
    const std::int64_t masks = max_chunk * shape_.n_kv_heads * mask_stride(max_tokens) * 4;
    const std::int64_t row = shape_.n_kv_heads * score_stride(max_tokens);
    const std::int64_t scores =
        std::min(max_chunk * row, std::max(kMostScores, kernels::kScoreTile * row)) * 2;
    return masks + scores + 2 * kAlign;
  }
  std::int64_t step_scratch_bytes(std::int64_t max_tokens) const {
    const std::int64_t partials = kernels::attend_step_workspace_bytes(shape_) + kAlign;
    if (!may_rank(max_tokens)) return partials;
    const std::int64_t capacity = kernels::ceil_div(max_tokens, kernels::kBlock) * kernels::kBlock;
    const std::int64_t masks = shape_.n_kv_heads * mask_stride(capacity) * 4;
    const std::int64_t scores = shape_.n_kv_heads * score_stride(capacity) * 2;
    return partials + masks + scores + 3 * kAlign +
           kernels::score_step_workspace_bytes(shape_, capacity, config_.exact_lse);
  }

  /// Attention of the rows of q, the last of `state`, into q itself.
  void attend_rows(const InfllmV2CudaState& state, TensorView q, std::int64_t start,
                   std::int64_t ranked, ExecutionContext& context) const {
    std::vector<SampledRow> sampled = sampled_rows(config_, q, start, context);
    const Workspace::Mark mark(context.scratch);
    kernels::AttendParams attend = attend_params(state, q, start, ranked);
    const std::int64_t end = start + q.rows;
    if (end > ranked) {
      attend.mask_stride = mask_stride(end);
      auto* masks = take<std::uint32_t>(context, q.rows * shape_.n_kv_heads * attend.mask_stride);
      attend.masks = masks;
      choose(attend, masks, std::max(start, ranked), end, context);
    }
    {
      const Span span(context.trace, "attend", kernels::attend_cost(attend));
      SALA_CUDA(kernels::launch_attend(attend, backend_.stream()));
    }
    if (!sampled.empty()) measure(attend, q, sampled, context);
  }

  /// Fills the masks of rows [first, end), slab by slab.
  void choose(const kernels::AttendParams& attend, std::uint32_t* masks, std::int64_t first,
              std::int64_t end, ExecutionContext& context) const {
    const Workspace::Mark mark(context.scratch);
    const std::int64_t stride = score_stride(end);
    const std::int64_t tile = kernels::kScoreTile;
    const std::int64_t slab = slab_tokens(stride);
    const std::int64_t most = std::min(slab, end - first);
    auto* scores = take<__nv_bfloat16>(context, most * shape_.n_kv_heads * stride);
    for (std::int64_t low = first; low < end;) {
      // Slabs end at multiples of a tile counted from token 0.
      const std::int64_t high = std::min(end, low / tile * tile + slab);
      const std::int64_t row = low - attend.start;
      const kernels::ScoreParams score{.q = attend.q + row * shape_.q_dim(),
                                       .cache = attend.cache,
                                       .shape = shape_,
                                       .scores = scores,
                                       .score_stride = stride,
                                       .start = low,
                                       .n_tokens = high - low,
                                       .exact_lse = config_.exact_lse,
                                       .hopper = hopper_};
      {
        const Span span(context.trace, "score", kernels::score_cost(score));
        SALA_CUDA(kernels::launch_score(score, backend_.stream()));
      }
      if (context.selection != nullptr) force_needles(scores, stride, low, high, context);
      const kernels::SelectParams select{
          .scores = scores,
          .score_stride = stride,
          .shape = shape_,
          .masks = masks + row * shape_.n_kv_heads * attend.mask_stride,
          .mask_stride = attend.mask_stride,
          .start = low,
          .n_tokens = high - low};
      const Span span(context.trace, "select", kernels::select_cost(select));
      SALA_CUDA(kernels::launch_select(select, backend_.stream()));
      low = high;
    }
  }

  /// Makes the scores of blocks that the request forces the largest of rows [first, end), row
  /// `first` being the first in `scores`. Only of blocks that a row ranks: others stay as they are.
  void force_needles(__nv_bfloat16* scores, std::int64_t stride, std::int64_t first,
                     std::int64_t end, ExecutionContext& context) const {
    constexpr int kLargest = 0x7f;  // either byte of the largest bf16
    const auto bytes = [](std::int64_t n) { return static_cast<std::size_t>(n) * sizeof(*scores); };
    for (std::int64_t t = first; t < end;) {
      // Rows of one block rank the same blocks.
      const std::int64_t next = std::min(end, (t / kernels::kBlock + 1) * kernels::kBlock);
      for (const BlockRange& wanted : wanted_blocks(config_, t, context)) {
        SALA_CUDA(cudaMemset2DAsync(
            scores + (t - first) * shape_.n_kv_heads * stride + wanted.begin, bytes(stride),
            kLargest, bytes(wanted.end - wanted.begin),
            static_cast<std::size_t>((next - t) * shape_.n_kv_heads), backend_.stream()));
      }
      t = next;
    }
  }

  /// Attention of the one row of q at the device's position into q itself. All sizes follow from
  /// the capacity, so that the launches can be replayed at later positions.
  void attend_step(const InfllmV2CudaState& state, TensorView q, std::int64_t start,
                   std::int64_t ranked, ExecutionContext& context) const {
    std::vector<SampledRow> sampled = sampled_rows(config_, q, start, context);
    const Workspace::Mark mark(context.scratch);
    const std::int64_t capacity = state.cache().capacity;
    kernels::AttendParams attend = attend_params(state, q, start, ranked);
    if (ranked < capacity) {
      attend.mask_stride = mask_stride(capacity);
      auto* masks = take<std::uint32_t>(context, shape_.n_kv_heads * attend.mask_stride);
      attend.masks = masks;
      choose_step(attend, masks, context);
    }
    const kernels::AttendStepParams step{.row = attend,
                                         .position = backend_.position(),
                                         .partials = static_cast<float*>(context.scratch.take_bytes(
                                             kernels::attend_step_workspace_bytes(shape_)))};
    {
      const Span span(context.trace, "attend", kernels::attend_step_cost(step, start));
      SALA_CUDA(kernels::launch_attend_step(step, backend_.stream()));
    }
    if (!sampled.empty()) measure(attend, q, sampled, context);
  }

  void choose_step(const kernels::AttendParams& attend, std::uint32_t* masks,
                   ExecutionContext& context) const {
    const Workspace::Mark mark(context.scratch);
    const std::int64_t capacity = attend.cache.capacity;
    const std::int64_t stride = score_stride(capacity);
    auto* scores = take<__nv_bfloat16>(context, shape_.n_kv_heads * stride);
    const kernels::ScoreStepParams score{
        .row = {.q = attend.q,
                .cache = attend.cache,
                .shape = shape_,
                .scores = scores,
                .score_stride = stride,
                .n_tokens = 1,
                .exact_lse = config_.exact_lse},
        .position = backend_.position(),
        .ranked_begin = attend.ranked_begin,
        .partials = static_cast<float2*>(context.scratch.take_bytes(
            kernels::score_step_workspace_bytes(shape_, capacity, config_.exact_lse)))};
    const bool ranks = attend.start >= attend.ranked_begin;  // otherwise both return at once
    {
      const Span span(context.trace, "score",
                      ranks ? kernels::score_step_cost(score, attend.start) : Cost{});
      SALA_CUDA(kernels::launch_score_step(score, backend_.stream()));
    }
    if (context.selection != nullptr && ranks) {
      force_needles(scores, stride, attend.start, attend.start + 1, context);
    }
    const kernels::SelectParams select{.scores = scores,
                                       .score_stride = stride,
                                       .shape = shape_,
                                       .masks = masks,
                                       .mask_stride = attend.mask_stride,
                                       .start = attend.start,
                                       .n_tokens = 1,
                                       .position = backend_.position(),
                                       .ranked_begin = attend.ranked_begin};
    const Span span(context.trace, "select", ranks ? kernels::select_cost(select) : Cost{});
    SALA_CUDA(kernels::launch_select(select, backend_.stream()));
  }

  /// Compares the choice of sampled rows with exact attention, on the host.
  void measure(const kernels::AttendParams& attend, TensorView attended,
               std::vector<SampledRow>& rows, ExecutionContext& context) const {
    std::vector<std::uint32_t> masks(
        static_cast<std::size_t>(shape_.n_kv_heads * attend.mask_stride));
    for (SampledRow& row : rows) {
      if (row.position < attend.ranked_begin) continue;
      SALA_CUDA(cudaMemcpyAsync(
          masks.data(), attend.masks + row.index * static_cast<std::int64_t>(masks.size()),
          masks.size() * sizeof(masks[0]), cudaMemcpyDeviceToHost, backend_.stream()));
      backend_.wait();
      const std::int64_t n_words = kernels::mask_words(row.position / kernels::kBlock);
      for (std::size_t head = 0; head < row.blocks.size(); ++head) {
        const std::uint32_t* words =
            masks.data() + static_cast<std::int64_t>(head) * attend.mask_stride;
        for (std::int64_t word = 0; word < n_words; ++word) {
          for (std::uint32_t bits = words[word]; bits != 0; bits &= bits - 1) {
            row.blocks[head].push_back(
                static_cast<std::int32_t>(word * 32 + std::countr_zero(bits)));
          }
        }
      }
    }
    kernels::DownloadedBlocks source(attend.cache, shape_, attend.start + attend.n_tokens,
                                     host_threads(backend_), backend_.stream());
    record_selection(config_, rows, attended, source, context);
  }

  kernels::AttendParams attend_params(const InfllmV2CudaState& state, TensorView q,
                                      std::int64_t start, std::int64_t ranked) const {
    return {.q = bf16(q),
            .out = bf16(q),
            .cache = state.cache(),
            .shape = shape_,
            .start = start,
            .n_tokens = q.rows,
            .ranked_begin = ranked,
            .hopper = hopper_};
  }

  template <typename T>
  static T* take(ExecutionContext& context, std::int64_t n) {
    return static_cast<T*>(context.scratch.take_bytes(n * static_cast<std::int64_t>(sizeof(T))));
  }

  /// Dense rows and sparse rows of one call are two entries.
  void log_route(std::int64_t start, std::int64_t n_tokens, ExecutionContext& context) const {
    struct Sum {
      std::int64_t rows = 0, read = 0, visible = 0;
    } dense, sparse;
    const std::int64_t ranked = ranked_begin(start, context.prefill_end);
    for (std::int64_t t = start; t < start + n_tokens; ++t) {
      Sum& sum = config_.is_sparse(t, context.prefill_end) ? sparse : dense;
      const std::int64_t visible = t / kernels::kBlock + 1;
      sum.rows += 1;
      sum.visible += shape_.n_kv_heads * visible;
      sum.read += shape_.n_kv_heads * (t < ranked ? visible : shape_.n_selected());
    }
    const char* tiles = hopper_ ? "infllm_v2_tiles_hopper" : "infllm_v2_tiles_cuda";
    const char* kernel = n_tokens == 1 ? "infllm_v2_step_cuda" : tiles;
    const auto add = [&](const char* path, const Sum& sum) {
      if (sum.rows == 0) return;
      context.route.add(context.layer, context.trace.phase(), path, kernel, sum.read, sum.visible);
    };
    add("dense", dense);
    add("sparse", sparse);
  }

  CudaBackend& backend_;
  std::string where_;
  InfllmV2Config config_;
  kernels::Shape shape_;
  bool hopper_;
  SoftmaxProjections projections_;
};

}  // namespace

std::unique_ptr<AttentionLayer> make_infllm_v2_cuda(const LayerSpec& spec, WeightSource& weights,
                                                    Backend& backend) {
  return std::make_unique<InfllmV2Cuda>(spec, weights, backend);
}

}  // namespace sala
