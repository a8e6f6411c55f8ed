// Made-up words whose counts fall with the square of their rank.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tasks/python_random.h"

namespace sala {

inline constexpr std::int64_t kFweTokensToGenerate = 50;

/// n different words of six letters, drawn and then shuffled by a generator of that seed; the first
/// one is "...".
std::vector<std::string> coded_vocabulary(std::int64_t n, PythonRandom& random,
                                          std::uint64_t shuffle_seed);

/// About m words, the word of rank r int(m r^-2 / zeta(2)) times, shuffled by a generator of that
/// seed, joined by spaces.
std::string coded_text(const std::vector<std::string>& vocabulary, std::int64_t m,
                       std::uint64_t shuffle_seed);

}  // namespace sala
