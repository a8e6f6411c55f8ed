// Choices of blocks made up for benchmarks overlap as they are said to.
// SPDX-License-Identifier: Apache-2.0
#include "engine/bench/cuda/selection.h"

#include <gtest/gtest.h>

#include <bit>

namespace sala::cuda::infllm_v2 {
namespace {

constexpr Shape kShape{.n_kv_heads = 2,
                       .group = 16,
                       .head_dim = 128,
                       .init_blocks = 1,
                       .local_blocks = 32,
                       .topk = 64};
constexpr std::int64_t kStart = 20000;
constexpr std::int64_t kTokens = 300;
constexpr std::int64_t kMaskStride = mask_words((kStart + kTokens - 1) / kBlock);

struct Masks {
  explicit Masks(double overlap)
      : words(made_up_masks(kShape, kStart, kTokens, kMaskStride, overlap)) {}

  bool reads(std::int64_t token, std::int64_t head, std::int64_t block) const {
    const auto word = (token * kShape.n_kv_heads + head) * kMaskStride + block / 32;
    return (words[static_cast<std::size_t>(word)] >> (block % 32) & 1U) != 0;
  }
  std::int64_t count(std::int64_t token, std::int64_t head) const {
    std::int64_t n = 0;
    for (std::int64_t block = 0; block < kMaskStride * 32; ++block) n += reads(token, head, block);
    return n;
  }
  /// Mean share of a row's ranked blocks that its successor ranks too, in the same block of tokens.
  double overlap() const {
    double kept = 0;
    double all = 0;
    for (std::int64_t head = 0; head < kShape.n_kv_heads; ++head) {
      for (std::int64_t i = 0; i + 1 < kTokens; ++i) {
        const std::int64_t end = kShape.candidates_end((kStart + i) / kBlock);
        for (std::int64_t block = kShape.init_blocks; block < end; ++block) {
          all += reads(i, head, block);
          kept += reads(i, head, block) && reads(i + 1, head, block);
        }
      }
    }
    return kept / all;
  }

  std::vector<std::uint32_t> words;
};

TEST(BenchSelection, every_row_reads_its_forced_blocks_and_as_many_others_as_it_ranks) {
  for (const double overlap : {0.0, 0.87, 1.0}) {
    const Masks masks(overlap);
    for (std::int64_t i = 0; i < kTokens; ++i) {
      const std::int64_t off = (kStart + i) / kBlock;
      for (std::int64_t head = 0; head < kShape.n_kv_heads; ++head) {
        ASSERT_EQ(masks.count(i, head), kShape.n_selected()) << "row " << i;
        ASSERT_TRUE(masks.reads(i, head, 0));
        for (std::int64_t block = off - kShape.local_blocks; block <= off; ++block) {
          ASSERT_TRUE(masks.reads(i, head, block)) << "row " << i << " block " << block;
        }
      }
    }
  }
}

TEST(BenchSelection, neighbours_share_what_was_asked_for) {
  EXPECT_DOUBLE_EQ(Masks(1).overlap(), 1);
  EXPECT_NEAR(Masks(0.87).overlap(), 0.87, 0.02);
  EXPECT_LT(Masks(0).overlap(), 0.3) << "the share that random picks have in common";
}

TEST(BenchSelection, the_two_heads_and_rows_far_apart_differ) {
  const Masks masks(0.87);
  std::int64_t same_heads = 0;
  std::int64_t same_rows = 0;
  for (std::int64_t block = 1; block < kShape.candidates_end(kStart / kBlock); ++block) {
    same_heads += masks.reads(0, 0, block) && masks.reads(0, 1, block);
    same_rows += masks.reads(0, 0, block) && masks.reads(200, 0, block);
  }
  EXPECT_LT(same_heads, 35);
  EXPECT_LT(same_rows, 35);
}

}  // namespace
}  // namespace sala::cuda::infllm_v2
