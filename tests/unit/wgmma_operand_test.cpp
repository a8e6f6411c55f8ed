// Descriptors of Hopper's warpgroup products, decoded as the hardware's manual says.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/device/wgmma_operand.h"

#include <gtest/gtest.h>

#include <set>

namespace sala::cuda {
namespace {

/// Shared address from which a product reads element (n, k) of its (64, 16) operand: groups of
/// eight rows at the stride of the descriptor, rows of 128 bytes, and on the sum the swizzle, which
/// moves address bits 7-9 onto bits 4-6.
std::uint32_t read_address(std::uint64_t operand, int n, int k) {
  const auto field = [&](int bit) {
    return static_cast<std::uint32_t>(operand >> bit & 0x3fff) << 4;
  };
  const std::uint32_t plain = field(0) + static_cast<std::uint32_t>(n / 8) * field(32) +
                              static_cast<std::uint32_t>(n % 8 * 128 + k * 2);
  return plain ^ (plain >> 7 & 7) << 4;
}

/// Every (64, 16) part of a (kPanelRows, 128) matrix, also of one at the end of shared memory.
template <int kPanelRows>
void expect_operands_read_panels() {
  constexpr std::uint32_t kLast = 227 * 1024 - kPanelRows * 128 * 2;
  for (const std::uint32_t base : {1024U, 37U * 1024U, kLast}) {
    for (int first_row = 0; first_row < kPanelRows; first_row += 64) {
      for (int first_col = 0; first_col < 128; first_col += 16) {
        const auto start = static_cast<std::uint32_t>(first_row * kPanelCols * 2);
        const std::uint64_t operand =
            panel_operand(base + start) + operand_step<kPanelRows>(first_col);
        for (int n = 0; n < 64; ++n) {
          for (int k = 0; k < 16; ++k) {
            const int at = panel_element<kPanelRows>(first_row + n, first_col + k);
            ASSERT_EQ(read_address(operand, n, k), base + static_cast<std::uint32_t>(at) * 2)
                << base << " " << first_row << " " << first_col << " " << n << " " << k;
          }
        }
      }
    }
  }
}

TEST(WgmmaOperand, reads_the_elements_where_panels_hold_them) {
  expect_operands_read_panels<128>();
  expect_operands_read_panels<256>();
}

TEST(WgmmaOperand, asks_for_the_128_byte_swizzle_of_an_aligned_pattern) {
  const std::uint64_t operand = panel_operand(37 * 1024) + operand_step<128>(112);
  EXPECT_EQ(operand >> 62, 1U);
  EXPECT_EQ(operand >> 49 & 7, 0U) << "offset of the pattern's first row";
}

TEST(Panels, hold_every_element_once) {
  std::set<int> places;
  for (int row = 0; row < 16; ++row) {
    for (int col = 0; col < 128; ++col) {
      EXPECT_TRUE(places.insert(panel_element<16>(row, col)).second);
    }
  }
  EXPECT_EQ(*places.rbegin(), 16 * 128 - 1);
}

template <int kPanelRows>
void expect_further_columns() {
  for (const std::uint32_t base : {3U * 128U, 37U * 1024U}) {
    for (int row = 0; row < kPanelRows; ++row) {
      for (int col = 0; col < 16; ++col) {
        const auto at = [&](int further) {
          return base +
                 static_cast<std::uint32_t>(panel_element<kPanelRows>(row, col + further)) * 2;
        };
        for (int further = 0; further < 256; further += 16) {
          ASSERT_EQ(panel_further<kPanelRows>(at(0), further), at(further))
              << base << " " << row << " " << col;
        }
      }
    }
  }
}

TEST(Panels, further_columns_are_found_from_the_first_ones) {
  expect_further_columns<64>();
  expect_further_columns<128>();
  expect_further_columns<256>();
}

/// What a lane points at in the first (16, 16) piece of a (kPanelRows, 128) matrix leads to its
/// place in all others.
template <int kPanelRows>
void expect_pieces_from_one_address() {
  constexpr std::uint32_t kBase = 3U * 128U;
  const auto at = [](int row, int col) {
    return kBase + static_cast<std::uint32_t>(panel_element<kPanelRows>(row, col)) * 2;
  };
  for (const auto address : {a_address, b_address, b_address_transposed}) {
    for (int lane = 0; lane < 32; ++lane) {
      const Element from = address(lane);
      for (int row = 0; row < kPanelRows; row += 16) {
        for (int col = 0; col < 128; col += 16) {
          const auto rows = static_cast<std::uint32_t>(row * kPanelCols * 2);
          ASSERT_EQ(panel_further<kPanelRows>(at(from.row, from.col), col) + rows,
                    at(row + from.row, col + from.col))
              << lane << " " << row << " " << col;
        }
      }
    }
  }
}

TEST(Panels, lanes_of_ldmatrix_find_every_piece_from_one_address) {
  expect_pieces_from_one_address<64>();
  expect_pieces_from_one_address<128>();
  expect_pieces_from_one_address<256>();
}

TEST(Panels, keep_sixteen_bytes_together) {
  for (int row = 0; row < 16; ++row) {
    for (int col = 0; col < 128; ++col) {
      EXPECT_EQ(panel_element<16>(row, col), panel_element<16>(row, col / 8 * 8) + col % 8);
      EXPECT_EQ(panel_element<16>(row, col / 8 * 8) % 8, 0);
    }
  }
}

}  // namespace
}  // namespace sala::cuda
