// Seeding, regeneration and tempering.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/mersenne_twister.h"

namespace sala {

MersenneTwister::MersenneTwister(std::uint32_t seed) {
  state_[0] = seed;
  for (std::size_t i = 1; i < state_.size(); ++i) {
    state_[i] =
        1812433253U * (state_[i - 1] ^ (state_[i - 1] >> 30)) + static_cast<std::uint32_t>(i);
  }
}

MersenneTwister::MersenneTwister(std::span<const std::uint32_t> key) : MersenneTwister(19650218U) {
  auto& mt = state_;
  const std::size_t n = mt.size();
  const auto mixed = [&](std::size_t i) { return mt[i - 1] ^ (mt[i - 1] >> 30); };
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

void MersenneTwister::regenerate() {
  const std::size_t n = state_.size();
  for (std::size_t k = 0; k < n; ++k) {
    const std::uint32_t y = (state_[k] & 0x80000000U) | (state_[(k + 1) % n] & 0x7FFFFFFFU);
    state_[k] = state_[(k + 397) % n] ^ (y >> 1) ^ ((y & 1U) != 0 ? 0x9908B0DFU : 0U);
  }
  index_ = 0;
}

std::uint32_t MersenneTwister::next_u32() {
  if (index_ == state_.size()) regenerate();
  std::uint32_t y = state_[index_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9D2C5680U;
  y ^= (y << 15) & 0xEFC60000U;
  return y ^ (y >> 18);
}

double MersenneTwister::random() {
  const double high = next_u32() >> 5;
  const double low = next_u32() >> 6;
  return (high * 67108864.0 + low) / 9007199254740992.0;
}

}  // namespace sala
