// NumPy's legacy random numbers, bit for bit.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "tasks/mersenne_twister.h"

namespace sala {

/// The generator of `np.random.seed(n)`, n below 2^32.
class NumpyRandom : public MersenneTwister {
 public:
  explicit NumpyRandom(std::uint32_t seed) : MersenneTwister(seed) {}

  /// In [low, high), as `np.random.randint` draws it; high - low at most 2^32.
  std::int64_t randint(std::int64_t low, std::int64_t high);
};

}  // namespace sala
