// Index arithmetic of tensor-core fragments and swizzled tiles; plain functions, tested on the CPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#ifdef __CUDACC__
#define SALA_HOST_DEVICE __host__ __device__
#else
#define SALA_HOST_DEVICE
#endif

namespace sala::cuda {

/// Row and column of an element within a matrix.
struct Element {
  int row;
  int col;
  constexpr bool operator==(const Element&) const = default;
};

/// First of the two elements (row, col), (row, col + 1) in register `i` of a (16, 16) A fragment.
SALA_HOST_DEVICE constexpr Element a_fragment(int lane, int i) {
  return {lane / 4 + i % 2 * 8, lane % 4 * 2 + i / 2 * 8};
}
/// First of the two elements (row, col), (row + 1, col) in register `i` of a (16, 8) B fragment.
SALA_HOST_DEVICE constexpr Element b_fragment(int lane, int i) {
  return {lane % 4 * 2 + i * 8, lane / 4};
}
/// The element in register `i` of a (16, 8) accumulator. Registers 0, 1 and 2, 3 of the
/// accumulators of two neighbouring column tiles are, rounded, an A fragment's 0, 1 and 2, 3.
SALA_HOST_DEVICE constexpr Element c_fragment(int lane, int i) {
  return {lane / 4 + i / 2 * 8, lane % 4 * 2 + i % 2};
}

/// What a lane points at so that ldmatrix x4 loads the A fragment of a (16, 16) piece stored
/// [row][k].
SALA_HOST_DEVICE constexpr Element a_address(int lane) {
  return {lane % 16, lane / 16 * 8};
}
/// The same for the B fragments of two column tiles of a piece stored [n][k], 16 n by 16 k:
/// registers 0, 1 are the tile of n 0-7, registers 2, 3 that of n 8-15.
SALA_HOST_DEVICE constexpr Element b_address(int lane) {
  return {lane % 8 + lane / 16 * 8, lane / 8 % 2 * 8};
}
/// The same for a piece stored [k][n], loaded transposed: 16 k by 16 n, registers as above.
SALA_HOST_DEVICE constexpr Element b_address_transposed(int lane) {
  return {lane % 16, lane / 16 * 8};
}

/// Where element (row, col) of a tile with `kCols` bf16 a row lies: the 16-byte pieces of a row are
/// permuted so that eight rows of one piece fall into different banks. kCols: a multiple of 64.
/// For col below 16 and a multiple s of 16, column col + s lies at swizzled(row, col) ^ s: in a
/// tile aligned to its rows an address turns into that of another column by one xor.
template <int kCols>
SALA_HOST_DEVICE constexpr int swizzled(int row, int col) {
  static_assert(kCols % 64 == 0, "a row holds whole groups of eight pieces");
  return row * kCols + ((col / 8) ^ (row % 8)) * 8 + col % 8;
}

}  // namespace sala::cuda
