// Options of block-sparse softmax attention and the arithmetic that follows from them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "engine/attention/options.h"

namespace sala {

/// InfLLM-V2. Positions t, blocks and windows count from 0; sizes in tokens.
struct InfllmV2Config {
  HeadOptions heads;
  std::int64_t stride = 16;  // between windows of k1; a window is two strides, a block four
  std::int64_t init_blocks = 1;
  std::int64_t local_blocks = 32;  // window_size / block: forced besides the current one
  std::int64_t topk = 64;
  std::int64_t dense_len = 8192;  // <= 0: always sparse
  bool dense_rule_row = false;    // the rule sees only the row, not the whole request
  bool sparse_on = true;
  bool exact_lse = false;    // normaliser over k1 instead of k2
  bool fp32_scores = false;  // rank unrounded scores instead of bf16 ones

  /// Reads and checks a layer's options. Throws Error naming the option.
  static InfllmV2Config read(const LayerSpec& spec);

  std::int64_t block() const { return 4 * stride; }
  /// Blocks that a row reads once it has that many behind it.
  std::int64_t n_selected() const { return topk + local_blocks; }
  /// Blocks that are ranked for row t: [init_blocks, candidates_end(t)).
  std::int64_t candidates_end(std::int64_t t) const { return t / block() - local_blocks; }
  /// Ranked blocks that are kept.
  std::int64_t slots() const { return topk - init_blocks - 1; }
  /// Whether row t has more blocks than it may read.
  bool must_rank(std::int64_t t) const { return t / block() >= n_selected(); }
  /// Complete windows among the first `length` tokens: k1 of 2 strides every stride, k2 of 8
  /// every 4.
  std::int64_t n_k1(std::int64_t length) const {
    return length < 2 * stride ? 0 : (length - 2 * stride) / stride + 1;
  }
  std::int64_t n_k2(std::int64_t length) const {
    return length < 8 * stride ? 0 : (length - 8 * stride) / (4 * stride) + 1;
  }
  /// Whether row t runs sparse when the request's prefill ends at prefill_end tokens.
  bool is_sparse(std::int64_t t, std::int64_t prefill_end) const {
    const std::int64_t seen = dense_rule_row ? t + 1 : std::max(prefill_end, t + 1);
    return sparse_on && (dense_len <= 0 || seen >= dense_len);
  }
};

}  // namespace sala
