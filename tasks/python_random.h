// Python's random numbers, bit for bit.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tasks/mersenne_twister.h"

namespace sala {

/// Seeded as `random.seed(n)`; each method draws exactly what its namesake in CPython's `random`
/// module draws.
class PythonRandom : public MersenneTwister {
 public:
  explicit PythonRandom(std::uint64_t seed);

  /// k random bits, k in [0, 64].
  std::uint64_t getrandbits(int k);
  /// In [0, n), n >= 1.
  std::uint64_t randbelow(std::uint64_t n);
  /// In [low, high], both ends included.
  std::int64_t randint(std::int64_t low, std::int64_t high);
  /// k different numbers of [0, n) in the order drawn. Throws Error when k > n.
  std::vector<std::size_t> sample(std::size_t n, std::size_t k);
  /// Version 4, drawn as uuid.UUID(int=getrandbits(128), version=4).
  std::string uuid();

  /// `items` must not be empty.
  template <typename T>
  const T& choice(const std::vector<T>& items) {
    return items[randbelow(items.size())];
  }
  /// k draws with replacement.
  template <typename T>
  std::vector<T> choices(const std::vector<T>& items, std::size_t k) {
    std::vector<T> drawn;
    drawn.reserve(k);
    for (std::size_t i = 0; i < k; ++i) {
      drawn.push_back(
          items[static_cast<std::size_t>(random() * static_cast<double>(items.size()))]);
    }
    return drawn;
  }
  template <typename T>
  void shuffle(std::vector<T>& items) {
    for (std::size_t i = items.size(); i-- > 1;) std::swap(items[i], items[randbelow(i + 1)]);
  }
};

}  // namespace sala
