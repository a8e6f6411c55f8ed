// MT19937 after Matsumoto and Nishimura, with CPython's seeding and draws.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/python_random.h"

#include <algorithm>
#include <bit>
#include <unordered_set>

#include "engine/base/error.h"

namespace sala {

PythonRandom::PythonRandom(std::uint64_t seed) {
  std::vector<std::uint32_t> key{static_cast<std::uint32_t>(seed)};
  if (seed >> 32 != 0) key.push_back(static_cast<std::uint32_t>(seed >> 32));

  auto& mt = state_;
  const std::size_t n = mt.size();
  const auto mixed = [&](std::size_t i) { return mt[i - 1] ^ (mt[i - 1] >> 30); };
  mt[0] = 19650218U;
  for (std::size_t i = 1; i < n; ++i) {
    mt[i] = 1812433253U * mixed(i) + static_cast<std::uint32_t>(i);
  }
  std::size_t i = 1;
  const auto advance = [&] {
    if (++i < n) return;
    mt[0] = mt[n - 1];
    i = 1;
  };
  std::size_t j = 0;
  for (std::size_t step = 0; step < n; ++step) {
    mt[i] = (mt[i] ^ (mixed(i) * 1664525U)) + key[j] + static_cast<std::uint32_t>(j);
    advance();
    j = (j + 1) % key.size();
  }
  for (std::size_t step = 1; step < n; ++step) {
    mt[i] = (mt[i] ^ (mixed(i) * 1566083941U)) - static_cast<std::uint32_t>(i);
    advance();
  }
  mt[0] = 0x80000000U;
}

void PythonRandom::regenerate() {
  const std::size_t n = state_.size();
  for (std::size_t k = 0; k < n; ++k) {
    const std::uint32_t y = (state_[k] & 0x80000000U) | (state_[(k + 1) % n] & 0x7FFFFFFFU);
    state_[k] = state_[(k + 397) % n] ^ (y >> 1) ^ ((y & 1U) != 0 ? 0x9908B0DFU : 0U);
  }
  index_ = 0;
}

std::uint32_t PythonRandom::next_u32() {
  if (index_ == state_.size()) regenerate();
  std::uint32_t y = state_[index_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9D2C5680U;
  y ^= (y << 15) & 0xEFC60000U;
  return y ^ (y >> 18);
}

double PythonRandom::random() {
  const double high = next_u32() >> 5;
  const double low = next_u32() >> 6;
  return (high * 67108864.0 + low) / 9007199254740992.0;
}

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
  std::unordered_set<std::size_t> seen;
  while (drawn.size() < k) {
    const std::size_t j = randbelow(n);
    if (seen.insert(j).second) drawn.push_back(j);
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
