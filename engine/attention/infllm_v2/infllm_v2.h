// Block-sparse softmax attention: score blocks, choose, attend; dense where the rule says so.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/attention/attention.h"
#include "engine/attention/infllm_v2/infllm_v2_config.h"
#include "engine/attention/infllm_v2/infllm_v2_state.h"
#include "engine/attention/reference_math.h"

namespace sala {

std::unique_ptr<AttentionLayer> make_infllm_v2_cpu(const LayerSpec& spec, WeightSource& weights,
                                                   Backend& backend);

/// Result of the fp64 reference.
struct InfllmV2Reference {
  std::vector<double> out;  // (n_tokens, hidden)
  /// (n_tokens, n_kv_heads): false where scores differing by 2e-5 of their size could have chosen
  /// other blocks.
  std::vector<bool> certain;
  std::vector<std::vector<std::int64_t>> blocks;  // (n_tokens, n_kv_heads) lists, ascending
};
/// The layer in fp64 as written in the model reference §3, for a prompt of x's tokens whose prefill
/// ends at prefill_end.
InfllmV2Reference infllm_v2_reference(const LayerSpec& spec, const ReferenceWeights& weights,
                                      const std::vector<double>& x, std::int64_t prefill_end);
/// p(t, head, j) of one query head for every window of k1 visible to row t (§3.3), in fp64.
std::vector<double> infllm_v2_window_weights(const InfllmV2Config& config, const ReferenceHeads& x,
                                             std::int64_t t, std::int64_t head);

/// Blocks that row t reads, ascending: the forced ones and the slots() best of the candidates.
/// scores: of blocks 0 .. candidates_end(t) - 1; equal scores go to the lower block. scratch: room
/// for as many floats. Returns how many were written to `blocks`, at most n_selected().
std::int32_t select_blocks(const InfllmV2Config& config, std::int64_t t, const float* scores,
                           float* scratch, std::int32_t* blocks);

/// Chooses blocks for the rows of q, the last q.rows tokens of `state`: counts (n_tokens,
/// n_kv_heads) and blocks (n_tokens, n_kv_heads, n_selected). Rows that are dense or see no more
/// than n_selected blocks get kAllBlocks.
void choose_blocks_cpu(const InfllmV2Config& config, const InfllmV2State& state, TensorView q,
                       std::int32_t* counts, std::int32_t* blocks, ExecutionContext& context);
std::int64_t choose_scratch_bytes(const InfllmV2Config& config, std::int64_t max_chunk,
                                  std::int64_t max_tokens, int threads);

}  // namespace sala
