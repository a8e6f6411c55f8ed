// Full causal softmax attention, and the parts that sparse softmax attention shares with it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/attention/attention.h"
#include "engine/attention/dense/dense_config.h"
#include "engine/attention/dense/dense_state.h"
#include "engine/attention/reference_math.h"

namespace sala {

std::unique_ptr<AttentionLayer> make_dense_cpu(const LayerSpec& spec, WeightSource& weights,
                                               Backend& backend);

/// The layer in fp64 as written in the model reference §2.3: x and result (n_tokens, hidden).
std::vector<double> dense_reference(const LayerSpec& spec, const ReferenceWeights& weights,
                                    const std::vector<double>& x);

/// Projections around softmax attention: q, k, v with optional norms and rotation before it, the
/// optional output gate and o_proj after it.
class SoftmaxProjections {
 public:
  /// Loads the weights under spec.prefix.
  SoftmaxProjections(const HeadOptions& heads, const LayerSpec& spec, WeightSource& weights);
  /// q (n_tokens, n_heads * head_dim), k and v (n_tokens, n_kv_heads * head_dim) of the tokens at
  /// first_position on.
  void project(TensorView x, std::int64_t first_position, TensorView q, TensorView k, TensorView v,
               ExecutionContext& context) const;
  /// Adds scale * o_proj of `attended`, gated when the layer has a gate, to `out`; overwrites
  /// `attended`.
  void finish(TensorView x, TensorView attended, float scale, TensorView out,
              ExecutionContext& context) const;
  /// Scratch of finish().
  std::int64_t scratch_bytes(std::int64_t n_tokens) const;

 private:
  HeadOptions heads_;
  Tensor q_, k_, v_, o_;
  std::optional<Tensor> gate_, q_norm_, k_norm_;
};

/// Key blocks that each row attends to, for every (row, KV head), in ascending order.
struct BlockTable {
  const std::int32_t* blocks = nullptr;  // (n_tokens, n_kv_heads, width)
  const std::int32_t* counts = nullptr;  // (n_tokens, n_kv_heads); kAllBlocks: every visible block
  std::int64_t width = 0;
};
constexpr std::int32_t kAllBlocks = -1;

/// Writes k and v behind what the cache holds and extends it.
void append_cpu(KvCache& cache, TensorView k, TensorView v, int threads);

/// Query tokens handled together, so that a tile is about 256 rows of a product. Tiles start at
/// multiples of it counted from token 0, so that no result depends on how a prompt is cut.
std::int64_t tile_tokens(const HeadOptions& heads);

/// Causal softmax attention of the last q.rows tokens of the cache over the blocks of the table,
/// or over all of them without one. q is overwritten by the result.
void attend_cpu(const HeadOptions& heads, const KvCache& cache, TensorView q,
                const BlockTable* table, ExecutionContext& context);
std::int64_t attend_scratch_bytes(const HeadOptions& heads, std::int64_t block, int threads);

}  // namespace sala
