// Stage 1 on the CPU: weights of compressed keys, pooled to blocks, and the best blocks of a row.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <functional>
#include <limits>

#include "engine/attention/infllm_v2/infllm_v2.h"
#include "engine/attention/infllm_v2/selection_fidelity.h"
#include "engine/backend/cpu/gemm.h"
#include "engine/backend/cpu/parallel.h"
#include "engine/backend/cpu/vector_math.h"
#include "engine/base/bf16.h"

namespace sala {

std::int32_t select_blocks(const InfllmV2Config& config, std::int64_t t, const float* scores,
                           float* scratch, std::int32_t* blocks) {
  const auto off = static_cast<std::int32_t>(t / config.block());
  std::int32_t* next = blocks;
  if (!config.must_rank(t)) {
    for (std::int32_t b = 0; b <= off; ++b) *next++ = b;
    return off + 1;
  }
  const auto first = static_cast<std::int32_t>(config.init_blocks);
  const auto end = static_cast<std::int32_t>(config.candidates_end(t));
  for (std::int32_t b = 0; b < first; ++b) *next++ = b;
  if (const std::int64_t slots = config.slots(); slots > 0) {
    // The smallest score that is still kept; ties with it go to the lower blocks.
    float* copy_end = std::copy(scores + first, scores + end, scratch);
    std::nth_element(scratch, scratch + slots - 1, copy_end, std::greater<>());
    const float least = scratch[slots - 1];
    std::int64_t ties =
        slots - std::count_if(scratch, scratch + slots, [&](float score) { return score > least; });
    for (std::int32_t b = first; b < end; ++b) {
      if (scores[b] > least || (scores[b] == least && ties-- > 0)) *next++ = b;
    }
  }
  for (auto b = static_cast<std::int32_t>(end); b <= off; ++b) *next++ = b;
  return static_cast<std::int32_t>(next - blocks);
}

namespace {

constexpr std::int64_t kTile = CompressedKeys::kTile;
constexpr std::int64_t kMostScores = 1 << 24;  // block scores kept at a time, in floats

/// Memory of one thread.
struct ScoreScratch {
  float* q;               // (tile rows, head_dim), scaled
  float* scores;          // (tile rows, kTile)
  float* max;             // (tile rows)
  float* sum;             // (tile rows)
  float* weights;         // (kTile)
  float* last;            // (tile tokens): weight of the last window of the tile before
  std::int32_t* visible;  // (tile tokens)

  static std::int64_t floats(const HeadOptions& heads) {
    const std::int64_t tokens = tile_tokens(heads);
    const std::int64_t n =
        tokens * heads.group() * (heads.head_dim + kTile + 2) + kTile + 2 * tokens;
    return (n + 15) / 16 * 16;
  }
  static ScoreScratch at(float* memory, const HeadOptions& heads) {
    const std::int64_t tokens = tile_tokens(heads);
    const std::int64_t rows = tokens * heads.group();
    ScoreScratch s{};
    s.q = memory;
    s.scores = s.q + rows * heads.head_dim;
    s.max = s.scores + rows * kTile;
    s.sum = s.max + rows;
    s.weights = s.sum + rows;
    s.last = s.weights + kTile;
    s.visible = reinterpret_cast<std::int32_t*>(s.last + tokens);
    return s;
  }
};

/// Block scores of tokens [first, first + count) of a call, for one KV head.
class BlockScores {
 public:
  BlockScores(const InfllmV2Config& config, const InfllmV2State& state, TensorView q)
      : config_(config), state_(state), q_(q), start_(state.length() - q.rows) {}

  /// scores: row r of the tile at scores + r * stride, block b at [b].
  void run(std::int64_t head, std::int64_t first, std::int64_t count, ScoreScratch& s,
           float* scores, std::int64_t stride) const {
    const HeadOptions& heads = config_.heads;
    const std::int64_t rows = count * heads.group();
    for (std::int64_t i = 0; i < rows; ++i) {
      const float* query = q_.f32() + (first + i / heads.group()) * q_.cols +
                           (head * heads.group() + i % heads.group()) * heads.head_dim;
      scale_row(query, heads.scale, s.q + i * heads.head_dim, heads.head_dim);
    }
    normalise(head, first, count, s);
    std::fill_n(s.last, count, 0.0F);
    const std::int64_t end = 4 * config_.candidates_end(start_ + first + count - 1);
    for (std::int64_t j = 0; j < end; j += kTile) {
      const std::int64_t width = std::min(kTile, end - j);
      multiply(rows, width, state_.keys.k1(head, j / kTile), s);
      for (std::int64_t r = 0; r < count; ++r) {
        const std::int64_t row = r * heads.group();
        add_head_weights(s.scores + row * kTile, kTile, heads.group(), width, s.max + row,
                         s.sum + row, s.weights);
        pool(s.weights, width, s.last[r], scores + r * stride + j / 4);
      }
    }
  }

 private:
  void multiply(std::int64_t rows, std::int64_t width, const float* keys, ScoreScratch& s) const {
    const std::int64_t d = config_.heads.head_dim;
    gemm(rows, width, d, s.q, d, keys, kTile, 0.0F, s.scores, kTile);
  }

  /// Leaves the maximum and 1 / sum of each row's exponentials over the visible k2 (or k1).
  void normalise(std::int64_t head, std::int64_t first, std::int64_t count, ScoreScratch& s) const {
    const std::int64_t rows = count * config_.heads.group();
    std::fill_n(s.max, rows, -std::numeric_limits<float>::infinity());
    std::fill_n(s.sum, rows, 0.0F);
    const auto n_windows = [&](std::int64_t length) {
      return config_.exact_lse ? config_.n_k1(length) : config_.n_k2(length);
    };
    const std::int64_t end = n_windows(start_ + first + count);
    for (std::int64_t j = 0; j < end; j += kTile) {
      const std::int64_t width = std::min(kTile, end - j);
      const std::int64_t tile = j / kTile;
      multiply(rows, width,
               config_.exact_lse ? state_.keys.k1(head, tile) : state_.keys.k2(head, tile), s);
      for (std::int64_t r = 0; r < count; ++r) {
        s.visible[r] = static_cast<std::int32_t>(
            std::clamp<std::int64_t>(n_windows(start_ + first + r + 1) - j, 0, width));
      }
      softmax_step(s.scores, kTile, rows, width, s.visible, config_.heads.group(),
                   {s.max, s.sum, nullptr, 0});
    }
    for (std::int64_t i = 0; i < rows; ++i) s.sum[i] = 1.0F / s.sum[i];
  }

  /// Block b: largest of windows 4b - 1 ... 4b + 3; `last` carries window 4b - 1 between tiles.
  void pool(const float* weights, std::int64_t width, float& last, float* blocks) const {
    for (std::int64_t j = 0; j < width; j += 4) {
      float best = last;
      for (std::int64_t i = j; i < j + 4; ++i) best = std::max(best, weights[i]);
      last = weights[j + 3];
      *blocks++ = config_.fp32_scores ? best : round_to_bf16(best);
    }
  }

  const InfllmV2Config& config_;
  const InfllmV2State& state_;
  TensorView q_;
  std::int64_t start_;  // position of the first row of q
};

/// Tokens whose block scores are kept at a time: whole tiles.
std::int64_t slab_tokens(const InfllmV2Config& config, std::int64_t max_length) {
  const std::int64_t per_token = config.heads.n_kv_heads * (max_length / config.block() + 1);
  const std::int64_t tile = tile_tokens(config.heads);
  return tile * std::max<std::int64_t>(1, kMostScores / per_token / tile);
}

}  // namespace

std::int64_t choose_scratch_bytes(const InfllmV2Config& config, std::int64_t max_chunk,
                                  std::int64_t max_tokens, int threads) {
  const std::int64_t n_blocks = max_tokens / config.block() + 1;
  const std::int64_t per_token = config.heads.n_kv_heads * n_blocks;
  const std::int64_t scores =
      std::min(max_chunk * per_token, std::max(kMostScores, tile_tokens(config.heads) * per_token));
  const std::int64_t floats = threads * (ScoreScratch::floats(config.heads) + n_blocks) + scores;
  return floats * 4 + 3 * 64;
}

void choose_blocks_cpu(const InfllmV2Config& config, const InfllmV2State& state, TensorView q,
                       std::int32_t* counts, std::int32_t* blocks, ExecutionContext& context) {
  const HeadOptions& heads = config.heads;
  const int threads = context.backend.info().threads;
  const std::int64_t start = state.length() - q.rows;
  const std::int64_t tokens = tile_tokens(heads);
  const auto ranks = [&](std::int64_t r) {
    return config.is_sparse(start + r, context.prefill_end) && config.must_rank(start + r);
  };
  std::fill_n(counts, q.rows * heads.n_kv_heads, kAllBlocks);
  std::int64_t first = 0;  // ranked rows are the last ones: both conditions hold from some row on
  while (first < q.rows && !ranks(first)) ++first;

  const Workspace::Mark mark(context.scratch);
  const std::int64_t n_blocks = state.length() / config.block() + 1;
  const std::int64_t slab = slab_tokens(config, state.length());
  const std::int64_t kept = std::min(q.rows, slab);
  auto* scratch =
      static_cast<float*>(context.scratch.take_bytes(threads * ScoreScratch::floats(heads) * 4));
  auto* ranked = static_cast<float*>(context.scratch.take_bytes(threads * n_blocks * 4));
  auto* scores =
      static_cast<float*>(context.scratch.take_bytes(kept * heads.n_kv_heads * n_blocks * 4));
  const BlockScores block_scores(config, state, q);
  const auto row_scores = [&](std::int64_t head, std::int64_t r) {
    return scores + (head * kept + r) * n_blocks;
  };

  for (std::int64_t low = first; low < q.rows;) {
    // Slabs and tiles end at multiples of a tile counted from token 0.
    const std::int64_t high = std::min(q.rows, (start + low) / tokens * tokens + slab - start);
    const std::int64_t first_tile = (start + low) / tokens;
    const std::int64_t n_tiles = (start + high - 1) / tokens - first_tile + 1;
    {
      double windows = 0;
      for (std::int64_t t = start + low; t < start + high; ++t) {
        windows +=
            static_cast<double>(4 * config.candidates_end(t) +
                                (config.exact_lse ? config.n_k1(t + 1) : config.n_k2(t + 1)));
      }
      const double flops = 2.0 * windows * static_cast<double>(heads.q_dim());
      // Window means of two sizes, read once for all rows of a slab, and the scores.
      const auto n_windows =
          static_cast<double>(config.n_k1(start + high) + config.n_k2(start + high));
      const Span span(
          context.trace, "score",
          {flops, 4 * (n_windows * static_cast<double>(heads.kv_dim()) +
                       static_cast<double>((high - low) * heads.q_dim()) +
                       static_cast<double>((high - low) * heads.n_kv_heads * n_blocks))});
      parallel_for(threads, n_tiles * heads.n_kv_heads, flops / kFlopsPerElement,
                   [&](std::int64_t index, int thread) {
                     const std::int64_t head = index % heads.n_kv_heads;
                     const std::int64_t tile = first_tile + index / heads.n_kv_heads;
                     const std::int64_t from = std::max(low, tile * tokens - start);
                     const std::int64_t to = std::min(high, (tile + 1) * tokens - start);
                     ScoreScratch s =
                         ScoreScratch::at(scratch + thread * ScoreScratch::floats(heads), heads);
                     block_scores.run(head, from, to - from, s, row_scores(head, from - low),
                                      n_blocks);
                   });
    }
    const auto n_lists = static_cast<double>((high - low) * heads.n_kv_heads);
    const Span span(context.trace, "select",
                    {0, 4 * n_lists * static_cast<double>(n_blocks + config.n_selected())});
    constexpr std::int64_t kRows = 16;
    const std::int64_t n_groups = (high - low + kRows - 1) / kRows;
    const double work = static_cast<double>((high - low) * heads.n_kv_heads * n_blocks);
    parallel_for(threads, n_groups, work, [&](std::int64_t index, int thread) {
      const std::int64_t from = low + index * kRows;
      for (std::int64_t r = from; r < std::min(from + kRows, high); ++r) {
        const std::vector<BlockRange> wanted = wanted_blocks(config, start + r, context);
        for (std::int64_t head = 0; head < heads.n_kv_heads; ++head) {
          float* row = row_scores(head, r - low);
          for (const BlockRange& range : wanted) {
            std::fill(row + range.begin, row + range.end, std::numeric_limits<float>::infinity());
          }
          const std::int64_t list = r * heads.n_kv_heads + head;
          counts[list] = select_blocks(config, start + r, row, ranked + thread * n_blocks,
                                       blocks + list * config.n_selected());
        }
      }
    });
    low = high;
  }
}

}  // namespace sala
