// CPython's draws on top of the Mersenne Twister.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/python_random.h"

#include <algorithm>
#include <bit>

#include "engine/base/error.h"

namespace sala {
namespace {

std::vector<std::uint32_t> key_of(std::uint64_t seed) {
  std::vector<std::uint32_t> key{static_cast<std::uint32_t>(seed)};
  if (seed >> 32 != 0) key.push_back(static_cast<std::uint32_t>(seed >> 32));
  return key;
}

}  // namespace

PythonRandom::PythonRandom(std::uint64_t seed) : MersenneTwister(key_of(seed)) {}

std::uint64_t PythonRandom::getrandbits(int k) {
  if (k == 0) return 0;
  if (k <= 32) return next_u32() >> (32 - k);
  const std::uint64_t low = next_u32();
  return low | static_cast<std::uint64_t>(next_u32() >> (64 - k)) << 32;
}

std::uint64_t PythonRandom::randbelow(std::uint64_t n) {
  const int bits = static_cast<int>(std::bit_width(n));
  std::uint64_t drawn = getrandbits(bits);
  while (drawn >= n) drawn = getrandbits(bits);
  return drawn;
}

std::int64_t PythonRandom::randint(std::int64_t low, std::int64_t high) {
  return low + static_cast<std::int64_t>(randbelow(static_cast<std::uint64_t>(high - low) + 1));
}

std::vector<std::size_t> PythonRandom::sample(std::size_t n, std::size_t k) {
  if (k > n) throw Error("random", "cannot draw {} different items out of {}", k, n);
  std::vector<std::size_t> drawn;
  drawn.reserve(k);
  // CPython copies small populations and remembers what it drew of large ones; the draws differ.
  std::size_t set_size = 21;
  if (k > 5) {
    std::size_t power = 4;
    while (power < 3 * k) power *= 4;
    set_size += power;
  }
  if (n <= set_size) {
    std::vector<std::size_t> pool(n);
    for (std::size_t i = 0; i < n; ++i) pool[i] = i;
    for (std::size_t i = 0; i < k; ++i) {
      const std::size_t j = randbelow(n - i);
      drawn.push_back(pool[j]);
      pool[j] = pool[n - i - 1];
    }
    return drawn;
  }
  std::vector<bool> seen(n);
  while (drawn.size() < k) {
    const std::size_t j = randbelow(n);
    if (seen[j]) continue;
    seen[j] = true;
    drawn.push_back(j);
  }
  return drawn;
}

std::string PythonRandom::uuid() {
  std::array<std::uint32_t, 4> words{};  // least significant first
  for (auto& word : words) word = next_u32();
  words[1] = (words[1] & 0x3FFFFFFFU) | 0x80000000U;  // variant 10
  words[2] = (words[2] & 0xFFFF0FFFU) | 0x00004000U;  // version 4
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:04x}{:08x}", words[3], words[2] >> 16,
                     words[2] & 0xFFFFU, words[1] >> 16, words[1] & 0xFFFFU, words[0]);
}

}  // namespace sala
