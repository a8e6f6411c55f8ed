// The block-sparse attention layer on the CPU.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "engine/attention/infllm_v2/infllm_v2.h"
#include "engine/attention/infllm_v2/selection_fidelity.h"
#include "engine/base/error.h"
#include "engine/tensor/cost.h"

namespace sala {

namespace {

/// The blocks of a cache, where they are.
class CachedBlocks final : public BlockSource {
 public:
  explicit CachedBlocks(const KvCache& cache) : cache_(cache) {}
  void load(std::int64_t /*first*/, std::int64_t /*count*/) override {}
  const float* keys(std::int64_t head, std::int64_t block) const override {
    return cache_.keys(head, block);
  }
  const float* values(std::int64_t head, std::int64_t block) const override {
    return cache_.values(head, block);
  }

 private:
  const KvCache& cache_;
};

class InfllmV2Cpu final : public AttentionLayer {
 public:
  InfllmV2Cpu(const LayerSpec& spec, WeightSource& weights, Backend& backend)
      : backend_(backend),
        config_(InfllmV2Config::read(spec)),
        projections_(config_.heads, spec, weights) {}

  std::vector<CategoryBytes> state_bytes(std::int64_t max_tokens) const override {
    return {{"kv_sparse", KvCache::bytes(config_.heads, config_.block(), max_tokens)},
            {"sparse_index", CompressedKeys::bytes(config_, max_tokens)}};
  }

  std::unique_ptr<LayerState> new_state(std::int64_t max_tokens) const override {
    return std::make_unique<InfllmV2State>(
        KvCache(backend_, config_.heads, config_.block(), max_tokens, "kv_sparse"),
        CompressedKeys(backend_, config_, max_tokens));
  }

  std::int64_t scratch_bytes(std::int64_t max_chunk, std::int64_t max_tokens) const override {
    const HeadOptions& heads = config_.heads;
    const int threads = backend_.info().threads;
    const std::int64_t q = max_chunk * heads.q_dim() * 4 + 64;
    const std::int64_t kv = 2 * (max_chunk * heads.kv_dim() * 4 + 64);
    std::int64_t attend = attend_scratch_bytes(heads, config_.block(), threads);
    if (config_.must_rank(max_tokens - 1)) {
      const std::int64_t table =
          max_chunk * heads.n_kv_heads * (config_.n_selected() + 1) * 4 + 2 * 64;
      attend =
          table + std::max(attend, choose_scratch_bytes(config_, max_chunk, max_tokens, threads));
    }
    return q + std::max({kv, attend, projections_.scratch_bytes(max_chunk)});
  }

  void forward(TensorView x, LayerState& state, float scale, TensorView out,
               ExecutionContext& context) const override {
    auto* own = dynamic_cast<InfllmV2State*>(&state);
    SALA_CHECK(own != nullptr, "a layer runs on the states it made");
    const HeadOptions& heads = config_.heads;
    const std::int64_t start = own->length();
    const Workspace::Mark mark(context.scratch);
    const TensorView q = context.scratch.take(x.rows, heads.q_dim());
    {
      const Workspace::Mark inner(context.scratch);
      const TensorView k = context.scratch.take(x.rows, heads.kv_dim());
      const TensorView v = context.scratch.take(x.rows, heads.kv_dim());
      projections_.project(x, start, q, k, v, context);
      const Span span(context.trace, "append", pass_cost({k, k, v, v}));
      append_cpu(own->cache, k, v, backend_.info().threads);
      own->keys.append_cpu(k, start, backend_.info().threads);
    }
    attend(*own, q, context);
    projections_.finish(x, q, scale, out, context);
  }

 private:
  void attend(const InfllmV2State& state, TensorView q, ExecutionContext& context) const {
    const HeadOptions& heads = config_.heads;
    const std::int64_t last = state.length() - 1;
    std::vector<SampledRow> sampled = sampled_rows(config_, q, state.length() - q.rows, context);
    const Workspace::Mark mark(context.scratch);
    BlockTable table;
    if (config_.is_sparse(last, context.prefill_end) && config_.must_rank(last)) {
      const std::int64_t n = q.rows * heads.n_kv_heads;
      auto* counts = static_cast<std::int32_t*>(context.scratch.take_bytes(n * 4));
      auto* blocks =
          static_cast<std::int32_t*>(context.scratch.take_bytes(n * config_.n_selected() * 4));
      choose_blocks_cpu(config_, state, q, counts, blocks, context);
      table = {blocks, counts, config_.n_selected()};
    }
    attend_cpu(heads, state.cache, q, table.counts == nullptr ? nullptr : &table, context);
    log_route(state, q.rows, table, context);
    if (!sampled.empty()) measure(state, q, table, sampled, context);
  }

  void measure(const InfllmV2State& state, TensorView attended, const BlockTable& table,
               std::vector<SampledRow>& rows, ExecutionContext& context) const {
    for (SampledRow& row : rows) {
      for (std::size_t head = 0; head < row.blocks.size() && table.counts != nullptr; ++head) {
        const std::int64_t list =
            row.index * config_.heads.n_kv_heads + static_cast<std::int64_t>(head);
        const std::int32_t* blocks = table.blocks + list * table.width;
        const std::int32_t count = table.counts[list];
        if (count != kAllBlocks) row.blocks[head].assign(blocks, blocks + count);
      }
    }
    CachedBlocks source(state.cache);
    record_selection(config_, rows, attended, source, context);
  }

  /// Dense rows and sparse rows of one call are two entries.
  void log_route(const InfllmV2State& state, std::int64_t n_tokens, const BlockTable& table,
                 ExecutionContext& context) const {
    struct Sum {
      std::int64_t rows = 0, read = 0, visible = 0;
    } dense, sparse;
    for (std::int64_t r = 0; r < n_tokens; ++r) {
      const std::int64_t t = state.length() - n_tokens + r;
      Sum& sum = config_.is_sparse(t, context.prefill_end) ? sparse : dense;
      sum.rows += 1;
      for (std::int64_t g = 0; g < config_.heads.n_kv_heads; ++g) {
        const std::int64_t visible = t / config_.block() + 1;
        const std::int32_t count =
            table.counts == nullptr ? kAllBlocks : table.counts[r * config_.heads.n_kv_heads + g];
        sum.visible += visible;
        sum.read += count == kAllBlocks ? visible : count;
      }
    }
    const char* phase = context.trace.phase();
    if (dense.rows > 0) {
      context.route.add(context.layer, phase, "dense", "softmax_tiles_cpu", dense.read,
                        dense.visible);
    }
    if (sparse.rows > 0) {
      context.route.add(context.layer, phase, "sparse", "infllm_v2_tiles_cpu", sparse.read,
                        sparse.visible);
    }
  }

  Backend& backend_;
  InfllmV2Config config_;
  SoftmaxProjections projections_;
};

}  // namespace

std::unique_ptr<AttentionLayer> make_infllm_v2_cpu(const LayerSpec& spec, WeightSource& weights,
                                                   Backend& backend) {
  return std::make_unique<InfllmV2Cpu>(spec, weights, backend);
}

}  // namespace sala
