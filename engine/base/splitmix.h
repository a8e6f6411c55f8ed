// Random numbers as a function of their index, the same on every device.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace sala {

/// One step of SplitMix64: a bijection that looks random. Source: Steele et al., OOPSLA 2014.
constexpr std::uint64_t splitmix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

/// Uniform in [-half_width, half_width), in steps of 2^-23 half_width.
constexpr float uniform_value(std::uint64_t index, float half_width) {
  const std::uint64_t bits = splitmix64(index) >> 40;  // 24 bits
  return (static_cast<float>(bits) * 0x1p-23F - 1.0F) * half_width;
}

}  // namespace sala
