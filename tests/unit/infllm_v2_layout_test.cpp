// Index arithmetic of tensor-core fragments and of block-sparse attention on the GPU.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/cuda/layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

namespace sala::cuda {
namespace {

namespace kernels = infllm_v2;

/// Calls check(lane, register) for all of a fragment.
template <typename Check>
void for_registers(int n, const Check& check) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < n; ++i) check(lane, i);
  }
}

TEST(Fragments, cover_every_element_once) {
  std::set<std::pair<int, int>> a, b, c;
  for_registers(4, [&](int lane, int i) {
    const Element at = a_fragment(lane, i);
    for (int k = 0; k < 2; ++k) EXPECT_TRUE(a.insert({at.row, at.col + k}).second);
    const Element sum = c_fragment(lane, i);
    EXPECT_TRUE(c.insert({sum.row, sum.col}).second);
  });
  for_registers(2, [&](int lane, int i) {
    const Element at = b_fragment(lane, i);
    for (int k = 0; k < 2; ++k) EXPECT_TRUE(b.insert({at.row + k, at.col}).second);
  });
  EXPECT_EQ(a.size(), 256U);
  EXPECT_EQ(b.size(), 128U);
  EXPECT_EQ(c.size(), 128U);
  EXPECT_LT(std::max({a.rbegin()->first, b.rbegin()->first, c.rbegin()->first}), 16);
}

TEST(Fragments, rounded_accumulators_of_two_column_tiles_are_an_a_fragment) {
  for_registers(4, [](int lane, int i) {
    const Element a = a_fragment(lane, i);
    const Element c = c_fragment(lane, i % 2 * 2);
    EXPECT_EQ(a, (Element{c.row, c.col + i / 2 * 8}));
  });
}

/// What ldmatrix leaves in register i of a lane, from the rows that lanes 8i ... 8i + 7 point at:
/// elements (row, col) and the one after it, or below it when transposed.
template <typename Address>
Element loaded(int lane, int i, bool transposed, const Address& address) {
  const int row = transposed ? lane % 4 * 2 : lane / 4;
  const int col = transposed ? lane / 4 : lane % 4 * 2;
  const Element from = address(i * 8 + row);
  return {from.row, from.col + col};
}

TEST(Fragments, addresses_load_what_the_product_expects) {
  for_registers(4, [](int lane, int i) {
    EXPECT_EQ(loaded(lane, i, false, a_address), a_fragment(lane, i));
    const Element b = b_fragment(lane, i % 2);  // of column tile i / 2
    EXPECT_EQ(loaded(lane, i, false, b_address), (Element{b.col + i / 2 * 8, b.row}));
    EXPECT_EQ(loaded(lane, i, true, b_address_transposed), (Element{b.row, b.col + i / 2 * 8}));
  });
}

template <int kCols>
void expect_swizzle() {
  constexpr int kRows = 32;
  std::vector<bool> used(kRows * kCols);
  for (int row = 0; row < kRows; ++row) {
    for (int col = 0; col < kCols; ++col) {
      const auto at = static_cast<std::size_t>(swizzled<kCols>(row, col));
      ASSERT_LT(at, used.size());
      EXPECT_FALSE(used[at]);
      used[at] = true;
      if (col % 8 != 0) {
        EXPECT_EQ(swizzled<kCols>(row, col), swizzled<kCols>(row, col - 1) + 1);
      }
      if (col < 16) {
        for (int further = 16; further < kCols; further += 16) {
          EXPECT_EQ(swizzled<kCols>(row, col + further), swizzled<kCols>(row, col) ^ further);
        }
      }
    }
  }
  for (int first = 0; first < kRows; first += 8) {
    for (int col = 0; col < kCols; col += 8) {
      std::set<int> banks;  // of 16 bytes
      for (int row = first; row < first + 8; ++row) {
        banks.insert(swizzled<kCols>(row, col) * 2 / 16 % 8);
      }
      EXPECT_EQ(banks.size(), 8U) << "rows from " << first << ", column " << col;
    }
  }
}

TEST(Swizzle, is_a_permutation_without_bank_conflicts) {
  expect_swizzle<64>();
  expect_swizzle<128>();
}

TEST(DirectLoads, permute_the_inner_dimension) {
  for (const int head_dim : {64, 128}) {
    std::vector<int> columns;
    for (int lane = 0; lane < 4; ++lane) {
      for (int step = 0; step < head_dim / 16; ++step) {
        for (int half = 0; half < 2; ++half) {
          const int column = kernels::direct_column(lane, step, half);
          columns.push_back(column);
          columns.push_back(column + 1);
          // One 16-byte piece holds two steps, in order.
          EXPECT_EQ(column,
                    kernels::direct_column(lane, step / 2 * 2, 0) + step % 2 * 4 + half * 2);
        }
      }
    }
    std::sort(columns.begin(), columns.end());
    std::vector<int> all(static_cast<std::size_t>(head_dim));
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(columns, all);
  }
}

TEST(Windows, are_counted_when_complete) {
  EXPECT_EQ(kernels::n_windows(31, 16), 0);
  EXPECT_EQ(kernels::n_windows(32, 16), 1);
  EXPECT_EQ(kernels::n_windows(127, 64), 0);
  EXPECT_EQ(kernels::n_windows(128, 64), 1);
  EXPECT_EQ(kernels::n_windows(8192, 16), 511);
  EXPECT_EQ(kernels::n_windows(8192, 64), 127);
  EXPECT_EQ(kernels::n_windows(1048576, 16), 65535);
  EXPECT_EQ(kernels::n_windows(1048576, 64), 16383);
}

TEST(Masks, bits_between_sets_exactly_the_range) {
  for (std::int64_t begin = 0; begin < 70; ++begin) {
    for (std::int64_t end = 0; end < 100; ++end) {
      for (std::int64_t block = 0; block < 96; ++block) {
        const bool expected = block >= begin && block < end;
        EXPECT_EQ((kernels::bits_between(block / 32, begin, end) >> (block % 32) & 1U) != 0,
                  expected);
      }
    }
  }
}

TEST(Masks, lowest_bits_keeps_the_lowest) {
  EXPECT_EQ(kernels::lowest_bits(0xb4U, 0), 0U);
  EXPECT_EQ(kernels::lowest_bits(0xb4U, -3), 0U);
  EXPECT_EQ(kernels::lowest_bits(0xb4U, 1), 0x04U);
  EXPECT_EQ(kernels::lowest_bits(0xb4U, 3), 0x34U);
  EXPECT_EQ(kernels::lowest_bits(0xb4U, 9), 0xb4U);
  EXPECT_EQ(kernels::lowest_bits(0xffffffffU, 32), 0xffffffffU);
}

TEST(Lists, entries_keep_block_and_members) {
  for (const std::uint32_t block : {0U, 63U, 32767U}) {
    for (const std::uint32_t members : {1U, 0x80U, 0xffffU}) {
      const std::uint32_t entry = kernels::list_entry(block, members);
      EXPECT_EQ(kernels::entry_block(entry), block);
      EXPECT_EQ(kernels::entry_members(entry), members);
    }
  }
}

TEST(Stages, fill_shared_memory) {
  constexpr std::int64_t kSmall = 99 << 10;   // of a CTA on compute capability 8.6, 8.9 and 12.0
  constexpr std::int64_t kLarge = 227 << 10;  // on 9.0 and 10.0
  EXPECT_EQ(kernels::n_stages(kSmall, 128), 3);
  EXPECT_EQ(kernels::n_stages(kSmall, 64), 6);
  EXPECT_EQ(kernels::n_stages(kLarge, 128), 7);
  EXPECT_EQ(kernels::n_stages(kLarge, 64), kernels::kMostStages);
  for (const std::int64_t bytes : {kSmall, kLarge}) {
    for (const std::int64_t head_dim : {64, 128}) {
      const std::int64_t used = kernels::n_stages(bytes, head_dim) * kernels::stage_bytes(head_dim);
      EXPECT_LE(used + kernels::kRingBytes, bytes);
    }
  }
}

TEST(Waves, begin_where_keys_and_values_exceed_the_cache_four_times) {
  constexpr std::int64_t kCache = 50 << 20;  // of an H100: 409,600 tokens of 512 bytes
  EXPECT_FALSE(kernels::is_far(262144, 128, kCache));
  EXPECT_FALSE(kernels::is_far(409600, 128, kCache));
  EXPECT_TRUE(kernels::is_far(409664, 128, kCache));
  EXPECT_FALSE(kernels::is_far(524288, 64, kCache));
  EXPECT_TRUE(kernels::is_far(1048576, 64, kCache));
}

TEST(Slices, cover_a_list_of_any_length_within_the_grid) {
  for (std::int64_t n = 1; n <= kernels::kMostBlocks; n = n < 600 ? n + 1 : n * 2 - 7) {
    const kernels::Slices cut = kernels::slices(n);
    EXPECT_LE(cut.count, kernels::kMostSlices);
    EXPECT_GE(cut.count * cut.size, n);
    EXPECT_LT((cut.count - 1) * cut.size, n);
  }
  EXPECT_EQ(kernels::slices(96).count, 24);
}

TEST(StepTiles, give_every_block_its_five_windows) {
  for (std::int64_t block = 0; block < 2000; ++block) {
    const std::int64_t tile = block / kernels::kStepBlocks;
    const std::int64_t first = kernels::step_first_window(tile);
    EXPECT_GE(4 * block - 1, first);
    EXPECT_LT(4 * block + 3, first + 64);
    // Four windows of a block lie in the lane pair that stores it.
    EXPECT_EQ((4 * block - first) % 4, 0);
    EXPECT_EQ(tile * kernels::kStepBlocks + (4 * block - first) / 4 - 1, block);
  }
}

}  // namespace
}  // namespace sala::cuda
