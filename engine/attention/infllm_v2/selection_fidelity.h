// Compares the blocks that sampled queries read with exact attention, in host memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/attention/attention.h"
#include "engine/attention/infllm_v2/infllm_v2_config.h"
#include "engine/attention/selection.h"

namespace sala {

/// A sampled query of one call of a layer: fp32 copies of what the layer used and made.
struct SampledRow {
  std::int64_t index = 0;  // among the rows of the call
  std::int64_t position = 0;
  std::vector<float> q{};    // (n_heads * head_dim)
  std::vector<float> out{};  // the same shape, before gate and projection
  /// (n_kv_heads) lists of the blocks that were read, ascending; empty: every visible one.
  std::vector<std::vector<std::int32_t>> blocks{};
};

/// Keys and values of a sequence, to be read by several threads.
class BlockSource {
 public:
  virtual ~BlockSource() = default;
  /// Makes blocks [first, first + count) of all KV heads readable, and perhaps no others.
  virtual void load(std::int64_t first, std::int64_t count) = 0;
  virtual const float* keys(std::int64_t head, std::int64_t block) const = 0;  // (head_dim, block)
  virtual const float* values(std::int64_t head, std::int64_t block) const = 0;  // transposed to it
};

/// Blocks [begin, end) that row t ranks and that context.selection forces; none without it.
struct BlockRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};
std::vector<BlockRange> wanted_blocks(const InfllmV2Config& config, std::int64_t t,
                                      const ExecutionContext& context);

/// The rows of a call that context.selection asks for, with their queries: none without it. q:
/// (n_tokens, n_heads * head_dim), row 0 at position `start`.
std::vector<SampledRow> sampled_rows(const InfllmV2Config& config, TensorView q, std::int64_t start,
                                     ExecutionContext& context);

/// Samples of every row and, in it, KV head; the layer is left 0. Rows ascend by position. Exact
/// attention costs n_rows · position · head_dim a head in fp32 products with fp64 sums, and is the
/// same for any number of threads. Among equally heavy blocks those read count as heaviest. Throws
/// Error where the attention is not finite.
std::vector<SelectionSample> measure_selection(const InfllmV2Config& config,
                                               std::span<const SampledRow> rows,
                                               BlockSource& source,
                                               std::span<const TokenRange> needles, int threads);

/// Completes the rows by their outputs, rows of `attended`, and gives their samples to
/// context.selection.
void record_selection(const InfllmV2Config& config, std::vector<SampledRow>& rows,
                      TensorView attended, BlockSource& source, ExecutionContext& context);

/// Threads of the host that measuring takes: those of the backend, or all beside a GPU.
int host_threads(const Backend& backend);

}  // namespace sala
