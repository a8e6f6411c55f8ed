// Made-up choices of key blocks whose overlap between neighbouring tokens is given; plain
// functions, tested on the CPU. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/attention/infllm_v2/cuda/layout.h"
#include "engine/base/splitmix.h"

namespace sala::cuda::infllm_v2 {

/// Masks as launch_select() writes them, (n_tokens, n_kv_heads, mask_stride), for rows at `start`
/// on. Of the blocks that a row ranks, the next row of the same KV head keeps that share of random
/// ones and takes random others instead: 1 for all rows alike, 0 for rows that only share what
/// every row must read. Blocks that a step of 64 tokens makes available are taken from then on.
inline std::vector<std::uint32_t> made_up_masks(const Shape& shape, std::int64_t start,
                                                std::int64_t n_tokens, std::int64_t mask_stride,
                                                double overlap) {
  std::uint64_t n_drawn = 0;
  const auto draw = [&](std::int64_t n) {
    return static_cast<std::int64_t>(splitmix64(n_drawn++) % static_cast<std::uint64_t>(n));
  };
  const auto n_replaced =
      static_cast<std::int64_t>(std::lround((1 - overlap) * static_cast<double>(shape.slots())));
  std::vector<std::uint32_t> masks(
      static_cast<std::size_t>(n_tokens * shape.n_kv_heads * mask_stride));
  for (std::int64_t head = 0; head < shape.n_kv_heads; ++head) {
    // The blocks before candidates_end(), the chosen ones first.
    std::vector<std::int64_t> blocks;
    for (std::int64_t i = 0; i < n_tokens; ++i) {
      const std::int64_t off = (start + i) / kBlock;
      for (auto b = shape.init_blocks + static_cast<std::int64_t>(blocks.size());
           b < shape.candidates_end(off); ++b) {
        blocks.push_back(b);
      }
      const auto n = static_cast<std::int64_t>(blocks.size());
      for (std::int64_t k = 0; k < (i == 0 ? shape.slots() : n_replaced); ++k) {
        const std::int64_t kept = i == 0 ? k : k + draw(shape.slots() - k);
        std::swap(blocks[static_cast<std::size_t>(k)], blocks[static_cast<std::size_t>(kept)]);
        const std::int64_t other = shape.slots() + draw(n - shape.slots());
        std::swap(blocks[static_cast<std::size_t>(k)], blocks[static_cast<std::size_t>(other)]);
      }
      std::uint32_t* mask = masks.data() + (i * shape.n_kv_heads + head) * mask_stride;
      for (std::int64_t word = 0; word < mask_words(off); ++word) {
        mask[word] = bits_between(word, 0, shape.init_blocks) |
                     bits_between(word, shape.candidates_end(off), off + 1);
      }
      for (std::int64_t k = 0; k < shape.slots(); ++k) {
        const std::int64_t block = blocks[static_cast<std::size_t>(k)];
        mask[block / 32] |= std::uint32_t{1} << (block % 32);
      }
    }
  }
  return masks;
}

}  // namespace sala::cuda::infllm_v2
