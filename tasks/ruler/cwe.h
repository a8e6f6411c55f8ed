// Lists in which ten words come more often than the others.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tasks/python_random.h"

namespace sala {

inline constexpr std::size_t kCommonWords = 10;

/// How often the common words and the others come.
struct Repeats {
  std::int64_t common;
  std::int64_t other;
};

/// "1. x 2. y ...": the first ten words as a block repeated, then the others as a block repeated,
/// shuffled by a generator of that seed. At least ten words.
std::string numbered_list(const std::vector<std::string>& words, Repeats repeats,
                          std::uint64_t seed);

/// "1. a 2. b ... 10. j": the first ten words.
std::string numbered_common(const std::vector<std::string>& words);

/// How often words come in the example and in the list, by the length that was asked for.
struct CwePlan {
  std::size_t example_words;
  Repeats example;
  Repeats list;
};
CwePlan cwe_plan(std::int64_t length);

}  // namespace sala
