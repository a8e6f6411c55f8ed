// The 32-bit Mersenne Twister under Python's and NumPy's random numbers.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sala {

/// MT19937 (Matsumoto and Nishimura 1998) with its two ways of seeding.
class MersenneTwister {
 public:
  /// init_genrand: NumPy's legacy seed.
  explicit MersenneTwister(std::uint32_t seed);
  /// init_by_array: Python's seed, the integer's 32-bit words from the least significant.
  explicit MersenneTwister(std::span<const std::uint32_t> key);

  std::uint32_t next_u32();
  /// In [0, 1), 53 bits.
  double random();

 private:
  void regenerate();

  std::array<std::uint32_t, 624> state_{};
  std::size_t index_ = 624;
};

}  // namespace sala
