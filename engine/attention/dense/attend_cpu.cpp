// Causal softmax attention in tiles of query rows over blocks of keys (online softmax), on the CPU.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "engine/attention/dense/dense.h"
#include "engine/backend/cpu/gemm.h"
#include "engine/backend/cpu/parallel.h"
#include "engine/backend/cpu/vector_math.h"
#include "engine/tensor/cost.h"

namespace sala {

namespace {

constexpr std::int64_t kTileRows = 256;
constexpr std::int64_t kLeastBlocksPerPart = 8;
constexpr std::int32_t kNoBlock = std::numeric_limits<std::int32_t>::max();

/// Memory of one tile while it is worked on.
struct TileScratch {
  float* q;               // (tile rows, head_dim), scaled
  float* out;             // (tile rows, head_dim), not yet divided by sum
  float* scores;          // (tile rows, block)
  float* max;             // (tile rows)
  float* sum;             // (tile rows)
  std::int32_t* visible;  // (tile tokens): keys of the current block that a token sees
  std::int32_t* cursor;   // (tile tokens): place in the token's list of blocks

  static std::int64_t floats(const HeadOptions& heads, std::int64_t block) {
    const std::int64_t tokens = tile_tokens(heads);
    const std::int64_t n = tokens * heads.group() * (2 * heads.head_dim + block + 2) + 2 * tokens;
    return (n + 15) / 16 * 16;
  }
  static TileScratch at(float* memory, const HeadOptions& heads, std::int64_t block) {
    const std::int64_t tokens = tile_tokens(heads);
    const std::int64_t rows = tokens * heads.group();
    TileScratch s{};
    s.q = memory;
    s.out = s.q + rows * heads.head_dim;
    s.scores = s.out + rows * heads.head_dim;
    s.max = s.scores + rows * block;
    s.sum = s.max + rows;
    s.visible = reinterpret_cast<std::int32_t*>(s.sum + rows);
    s.cursor = s.visible + tokens;
    return s;
  }
};

/// Tokens [first, first + count) of the call, one KV head.
struct Tile {
  std::int64_t head;
  std::int64_t first;
  std::int64_t count;
};

class Attention {
 public:
  Attention(const HeadOptions& heads, const KvCache& cache, TensorView q, const BlockTable* table)
      : heads_(heads),
        cache_(cache),
        q_(q),
        table_(table),
        start_(cache.length() - q.rows),
        tokens_(tile_tokens(heads)) {}

  std::int64_t n_tiles() const {
    return ((cache_.length() - 1) / tokens_ - start_ / tokens_ + 1) * heads_.n_kv_heads;
  }

  /// Tiles in order of decreasing position: the longest come first.
  Tile tile(std::int64_t index) const {
    const std::int64_t number = (cache_.length() - 1) / tokens_ - index / heads_.n_kv_heads;
    const std::int64_t first = std::max(number * tokens_, start_);
    const std::int64_t last = std::min((number + 1) * tokens_, cache_.length());
    return {index % heads_.n_kv_heads, first - start_, last - first};
  }

  /// Blocks that the first token of a tile reads.
  std::int64_t n_blocks(const Tile& tile) const {
    const std::int32_t count = list_length(tile, 0);
    return count == kAllBlocks ? current_block(tile, 0) + 1 : count;
  }

  /// Part `part` of n_parts of a tile's blocks, cut evenly for the tile's first token.
  void run(const Tile& tile, std::int64_t part, std::int64_t n_parts, TileScratch& s) const {
    const std::int64_t n = n_blocks(tile);
    const std::int32_t low = part == 0 ? 0 : block_at(tile, 0, n * part / n_parts);
    const std::int32_t high =
        part + 1 == n_parts ? kNoBlock : block_at(tile, 0, n * (part + 1) / n_parts);
    load(tile, low, s);
    while (true) {
      std::int32_t block = kNoBlock;
      for (std::int64_t r = 0; r < tile.count; ++r) {
        block = std::min(block, block_at(tile, r, s.cursor[r]));
      }
      if (block >= high) return;
      for (std::int64_t r = 0; r < tile.count; ++r) {
        const bool reads = block_at(tile, r, s.cursor[r]) == block;
        s.visible[r] = reads ? n_visible(tile, r, block) : 0;
        s.cursor[r] += reads ? 1 : 0;
      }
      read_block(tile, block, s);
    }
  }

  /// Adds what another part of the same tile found.
  void merge(const Tile& tile, const TileScratch& from, TileScratch& into) const {
    const std::int64_t d = heads_.head_dim;
    for (std::int64_t i = 0; i < tile.count * heads_.group(); ++i) {
      if (from.sum[i] == 0) continue;
      const float largest = std::max(from.max[i], into.max[i]);
      const float keep = into.sum[i] == 0 ? 0.0F : std::exp(into.max[i] - largest);
      const float factor = std::exp(from.max[i] - largest);
      into.max[i] = largest;
      into.sum[i] = into.sum[i] * keep + from.sum[i] * factor;
      for (std::int64_t c = 0; c < d; ++c) {
        into.out[i * d + c] = into.out[i * d + c] * keep + from.out[i * d + c] * factor;
      }
    }
  }

  void store(const Tile& tile, const TileScratch& s) const {
    const std::int64_t d = heads_.head_dim;
    for (std::int64_t i = 0; i < tile.count * heads_.group(); ++i) {
      scale_row(s.out + i * d, 1.0F / s.sum[i], query(tile, i), d);
    }
  }

  /// Keys and values that several rows read are read once.
  Cost cost() const {
    double keys = 0;
    for (std::int64_t r = 0; r < q_.rows; ++r) {
      for (std::int64_t g = 0; g < heads_.n_kv_heads; ++g) {
        const Tile one{g, r, 1};
        const std::int64_t last = (start_ + r) % cache_.block() + 1;
        keys += static_cast<double>((n_blocks(one) - 1) * cache_.block() + last);
      }
    }
    Cost cost = pass_cost({q_, q_});
    const auto d = static_cast<double>(heads_.head_dim);
    cost.flops = 4.0 * keys * static_cast<double>(heads_.group()) * d;
    cost.bytes += 2.0 * std::min(keys, static_cast<double>(cache_.length() * heads_.n_kv_heads)) *
                  d * static_cast<double>(sizeof(float));
    return cost;
  }

 private:
  std::int64_t current_block(const Tile& tile, std::int64_t r) const {
    return (start_ + tile.first + r) / cache_.block();
  }
  std::int64_t list_index(const Tile& tile, std::int64_t r) const {
    return (tile.first + r) * heads_.n_kv_heads + tile.head;
  }
  std::int32_t list_length(const Tile& tile, std::int64_t r) const {
    return table_ == nullptr ? kAllBlocks : table_->counts[list_index(tile, r)];
  }
  /// Block number `index` of a token's list, kNoBlock beyond its end.
  std::int32_t block_at(const Tile& tile, std::int64_t r, std::int64_t index) const {
    const std::int32_t count = list_length(tile, r);
    if (count == kAllBlocks) {
      return index <= current_block(tile, r) ? static_cast<std::int32_t>(index) : kNoBlock;
    }
    return index < count ? table_->blocks[list_index(tile, r) * table_->width + index] : kNoBlock;
  }
  std::int32_t n_visible(const Tile& tile, std::int64_t r, std::int64_t block) const {
    const std::int64_t position = start_ + tile.first + r;
    return static_cast<std::int32_t>(
        std::min(cache_.block(), position + 1 - block * cache_.block()));
  }
  /// Row i of a tile, i = token * group + head of the group.
  float* query(const Tile& tile, std::int64_t i) const {
    const std::int64_t token = tile.first + i / heads_.group();
    const std::int64_t head = tile.head * heads_.group() + i % heads_.group();
    return q_.f32() + token * q_.cols + head * heads_.head_dim;
  }

  void load(const Tile& tile, std::int32_t low, TileScratch& s) const {
    const std::int64_t rows = tile.count * heads_.group();
    for (std::int64_t i = 0; i < rows; ++i) {
      scale_row(query(tile, i), heads_.scale, s.q + i * heads_.head_dim, heads_.head_dim);
    }
    std::fill_n(s.out, rows * heads_.head_dim, 0.0F);
    std::fill_n(s.max, rows, -std::numeric_limits<float>::infinity());
    std::fill_n(s.sum, rows, 0.0F);
    for (std::int64_t r = 0; r < tile.count; ++r) {
      s.cursor[r] = 0;
      while (block_at(tile, r, s.cursor[r]) < low) ++s.cursor[r];
    }
  }

  /// Groups the tokens that read the block into runs; a short gap is computed and masked, which is
  /// cheaper than another call.
  void read_block(const Tile& tile, std::int32_t block, TileScratch& s) const {
    constexpr std::int64_t kMostMaskedRows = 6;
    std::int64_t first = 0;
    while (first < tile.count) {
      if (s.visible[first] == 0) {
        ++first;
        continue;
      }
      std::int64_t end = first + 1;
      for (std::int64_t r = end; r < tile.count; ++r) {
        if (s.visible[r] > 0) end = r + 1;
        if ((r + 1 - end) * heads_.group() > kMostMaskedRows) break;
      }
      read_run(tile.head, block, first, end, s);
      first = end;
    }
  }

  void read_run(std::int64_t head, std::int32_t block, std::int64_t first, std::int64_t end,
                TileScratch& s) const {
    const std::int64_t group = heads_.group();
    const std::int64_t d = heads_.head_dim;
    const std::int64_t row = first * group;
    const std::int64_t rows = (end - first) * group;
    const std::int64_t width = *std::max_element(s.visible + first, s.visible + end);
    gemm(rows, width, d, s.q + row * d, d, cache_.keys(head, block), cache_.block(), 0.0F, s.scores,
         cache_.block());
    softmax_step(s.scores, cache_.block(), rows, width, s.visible + first, group,
                 {s.max + row, s.sum + row, s.out + row * d, d});
    gemm(rows, d, width, s.scores, cache_.block(), cache_.values(head, block), d, 1.0F,
         s.out + row * d, d);
  }

  const HeadOptions& heads_;
  const KvCache& cache_;
  TensorView q_;
  const BlockTable* table_;
  std::int64_t start_;   // position of the first row of q
  std::int64_t tokens_;  // of a tile
};

}  // namespace

std::int64_t tile_tokens(const HeadOptions& heads) {
  constexpr std::uint64_t kMostTokens = 128;
  const auto tokens =
      static_cast<std::uint64_t>(std::max<std::int64_t>(1, kTileRows / heads.group()));
  return static_cast<std::int64_t>(std::min(kMostTokens, std::bit_floor(tokens)));
}

std::int64_t attend_scratch_bytes(const HeadOptions& heads, std::int64_t block, int threads) {
  return 2 * threads * TileScratch::floats(heads, block) * 4 + 64;
}

void attend_cpu(const HeadOptions& heads, const KvCache& cache, TensorView q,
                const BlockTable* table, ExecutionContext& context) {
  const Attention attention(heads, cache, q, table);
  const Cost cost = attention.cost();
  const Span span(context.trace, "attend", cost);
  const int threads = context.backend.info().threads;
  const std::int64_t n_tiles = attention.n_tiles();
  // Fewer tiles than threads (decode): cut the blocks of a tile into parts and add those up.
  const std::int64_t n_parts =
      std::clamp<std::int64_t>(attention.n_blocks(attention.tile(0)) / kLeastBlocksPerPart, 1,
                               (threads + n_tiles - 1) / n_tiles);

  const Workspace::Mark mark(context.scratch);
  const std::int64_t stride = TileScratch::floats(heads, cache.block());
  auto* memory = static_cast<float*>(
      context.scratch.take_bytes(attend_scratch_bytes(heads, cache.block(), threads) - 64));
  const auto scratch = [&](std::int64_t slot) {
    return TileScratch::at(memory + slot * stride, heads, cache.block());
  };
  parallel_for(threads, n_tiles * n_parts, cost.flops / kFlopsPerElement,
               [&](std::int64_t item, int thread) {
                 const Tile tile = attention.tile(item / n_parts);
                 TileScratch s = scratch(n_parts == 1 ? thread : item);
                 attention.run(tile, item % n_parts, n_parts, s);
                 if (n_parts == 1) attention.store(tile, s);
               });
  if (n_parts == 1) return;
  for (std::int64_t index = 0; index < n_tiles; ++index) {
    TileScratch total = scratch(index * n_parts);
    for (std::int64_t part = 1; part < n_parts; ++part) {
      attention.merge(attention.tile(index), scratch(index * n_parts + part), total);
    }
    attention.store(attention.tile(index), total);
  }
}

}  // namespace sala
