// How well a block-sparse layer chose: what is asked for with a request, and what comes back.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace sala {

/// Tokens [begin, end) of a prompt.
struct TokenRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

/// Queries at which block-sparse layers compare their choice with exact attention.
struct SelectionRequest {
  /// Ascending, of the prompt or the answer; empty = none. No layer sees the last token of an
  /// answer, nor any behind an early end: those give no sample.
  std::vector<std::int64_t> positions;
  std::vector<TokenRange> needles;  // tokens whose blocks should have been read
  /// Makes layers choose those blocks, in place of the worst they would have chosen, for every
  /// query of the request: whether the answer then changes tells what the choice was worth.
  bool force_needles = false;
};

/// One query of one layer and KV head, against softmax attention over all its visible keys. Masses
/// are means over the query heads of the group; "forced" blocks are the first and the local ones,
/// which every query reads.
struct SelectionSample {
  int layer = 0;
  int kv_head = 0;
  std::int64_t position = 0;
  std::int64_t blocks_read = 0;
  std::int64_t blocks_visible = 0;
  /// Share of the n heaviest blocks that were read, n = blocks read; forced ones left out of both.
  /// Absent where nothing but forced blocks was read.
  std::optional<double> topk_recall = std::nullopt;
  double mass_recall = 0;  // probability mass of the blocks read
  double mass_oracle = 0;  // of the forced blocks and the n heaviest others
  /// Share of the needles' blocks read, of those that the query sees; absent without any.
  std::optional<double> needle_hit = std::nullopt;
  double out_rel_l2 = 0;  // |o_sparse - o_exact| / |o_exact|, before the projection
  double out_cos = 0;     // of the two outputs
};

/// A request and the samples that its layers have taken so far.
struct SelectionProbe {
  const SelectionRequest& request;
  std::vector<SelectionSample> samples;
};

}  // namespace sala
