// The full-attention layer on the CPU.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "engine/attention/dense/dense.h"
#include "engine/backend/cpu/parallel.h"
#include "engine/backend/cpu/vector_math.h"
#include "engine/base/error.h"
#include "engine/tensor/cost.h"

namespace sala {

void append_cpu(KvCache& cache, TensorView k, TensorView v, int threads) {
  const std::int64_t start = cache.length();
  const std::int64_t end = start + k.rows;
  const std::int64_t block = cache.block();
  cache.extend(k.rows);
  const std::int64_t first_block = start / block;
  const std::int64_t n_blocks = (end - 1) / block - first_block + 1;
  const std::int64_t d = k.cols / cache.n_heads();
  parallel_ranges(threads, n_blocks, block * k.cols * 2, [&](std::int64_t first, std::int64_t n) {
    for (std::int64_t b = first_block + first; b < first_block + first + n; ++b) {
      const std::int64_t from = std::max(start, b * block);
      const std::int64_t count = std::min(end, (b + 1) * block) - from;
      const std::int64_t inside = from - b * block;
      for (std::int64_t head = 0; head < cache.n_heads(); ++head) {
        const std::int64_t source = (from - start) * k.cols + head * d;
        transpose(k.f32() + source, k.cols, count, d, cache.keys(head, b) + inside, block);
        for (std::int64_t i = 0; i < count; ++i) {
          std::copy_n(v.f32() + source + i * v.cols, d, cache.values(head, b) + (inside + i) * d);
        }
      }
    }
  });
}

namespace {

constexpr std::int64_t kBlock = 128;  // keys of a tile

class DenseCpu final : public AttentionLayer {
 public:
  DenseCpu(const LayerSpec& spec, WeightSource& weights, Backend& backend)
      : backend_(backend),
        config_(DenseConfig::read(spec)),
        projections_(config_.heads, spec, weights) {}

  std::vector<CategoryBytes> state_bytes(std::int64_t max_tokens) const override {
    return {{"kv_full", KvCache::bytes(config_.heads, kBlock, max_tokens)}};
  }

  std::unique_ptr<LayerState> new_state(std::int64_t max_tokens) const override {
    return std::make_unique<DenseState>(
        KvCache(backend_, config_.heads, kBlock, max_tokens, "kv_full"));
  }

  std::int64_t scratch_bytes(std::int64_t max_chunk, std::int64_t /*max_tokens*/) const override {
    const HeadOptions& heads = config_.heads;
    const std::int64_t q = max_chunk * heads.q_dim() * 4 + 64;
    const std::int64_t kv = 2 * (max_chunk * heads.kv_dim() * 4 + 64);
    return q + std::max({kv, attend_scratch_bytes(heads, kBlock, backend_.info().threads),
                         projections_.scratch_bytes(max_chunk)});
  }

  void forward(TensorView x, LayerState& state, float scale, TensorView out,
               ExecutionContext& context) const override {
    auto* dense = dynamic_cast<DenseState*>(&state);
    SALA_CHECK(dense != nullptr, "a layer runs on the states it made");
    const HeadOptions& heads = config_.heads;
    const std::int64_t start = dense->length();
    const Workspace::Mark mark(context.scratch);
    const TensorView q = context.scratch.take(x.rows, heads.q_dim());
    {
      const Workspace::Mark inner(context.scratch);
      const TensorView k = context.scratch.take(x.rows, heads.kv_dim());
      const TensorView v = context.scratch.take(x.rows, heads.kv_dim());
      projections_.project(x, start, q, k, v, context);
      const Span span(context.trace, "append", pass_cost({k, k, v, v}));
      append_cpu(dense->cache, k, v, backend_.info().threads);
    }
    attend_cpu(heads, dense->cache, q, nullptr, context);
    projections_.finish(x, q, scale, out, context);

    std::int64_t blocks = 0;
    for (std::int64_t t = start; t < start + x.rows; ++t) blocks += t / kBlock + 1;
    blocks *= heads.n_kv_heads;
    context.route.add(context.layer, context.trace.phase(), "dense", "softmax_tiles_cpu", blocks,
                      blocks);
  }

 private:
  Backend& backend_;
  DenseConfig config_;
  SoftmaxProjections projections_;
};

}  // namespace

std::unique_ptr<AttentionLayer> make_dense_cpu(const LayerSpec& spec, WeightSource& weights,
                                               Backend& backend) {
  return std::make_unique<DenseCpu>(spec, weights, backend);
}

}  // namespace sala
