// Masked rejection, as NumPy's legacy randint has it.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/numpy_random.h"

#include <bit>

namespace sala {

std::int64_t NumpyRandom::randint(std::int64_t low, std::int64_t high) {
  const auto range = static_cast<std::uint32_t>(high - 1 - low);
  if (range == 0) return low;
  const std::uint32_t mask = ~std::uint32_t{0} >> std::countl_zero(range);
  std::uint32_t drawn = next_u32() & mask;
  while (drawn > range) drawn = next_u32() & mask;
  return low + drawn;
}

}  // namespace sala
