// How a matrix lies in shared memory as Hopper's copy engine and warpgroup products have it; plain
// functions.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/backend/cuda/device/fragment.h"

namespace sala::cuda {

constexpr int kPanelCols = 64;  // bf16 in the 128 bytes that are swizzled together

/// Where element (row, col) of a matrix of kPanelRows rows lies: panels of 64 columns, one behind
/// the other, each swizzled as swizzled<64>(). For the copy engine and wgmma the first
/// must be aligned to 1024 bytes, otherwise to 128.
template <int kPanelRows>
SALA_HOST_DEVICE constexpr int panel_element(int row, int col) {
  static_assert(kPanelRows % 8 == 0, "panels are whole groups of eight rows");
  return col / kPanelCols * kPanelRows * kPanelCols + swizzled<kPanelCols>(row, col % kPanelCols);
}

/// From the address of element (row, col), for a col below 16, that of column col + further, a
/// multiple of 16.
template <int kPanelRows>
SALA_HOST_DEVICE constexpr std::uint32_t panel_further(std::uint32_t address, int further) {
  return (address ^ static_cast<std::uint32_t>(further % kPanelCols * 2)) +
         static_cast<std::uint32_t>(further / kPanelCols * kPanelRows * kPanelCols * 2);
}

/// Descriptor of an operand that is stored [m][k] or [n][k] in such a panel and begins at the
/// shared address, which is one of row 8i and column 16j. Two groups of eight rows are 1024 bytes
/// apart.
SALA_HOST_DEVICE constexpr std::uint64_t panel_operand(std::uint32_t address) {
  constexpr std::uint64_t kSwizzle128 = 1;
  constexpr std::uint64_t kRowGroups = 8 * kPanelCols * 2;
  return kSwizzle128 << 62 | (kRowGroups >> 4) << 32 | std::uint64_t{1} << 16 |
         (address & 0x3ffffU) >> 4;
}

/// What panel_operand() grows by from the first columns to those from column `col` on, a multiple
/// of 16. The swizzle applies to whole addresses, so that columns of a panel are plainly added.
template <int kPanelRows>
SALA_HOST_DEVICE constexpr std::uint64_t operand_step(int col) {
  return static_cast<std::uint64_t>(col / kPanelCols * kPanelRows * kPanelCols + col % kPanelCols) *
         2 / 16;
}

}  // namespace sala::cuda
