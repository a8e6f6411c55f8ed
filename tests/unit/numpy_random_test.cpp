// Legacy random numbers against values drawn by NumPy.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/numpy_random.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/base/mapped_file.h"

namespace sala {
namespace {

using nlohmann::json;

/// Runs a check with the vectors of each seed that NumPy takes.
template <typename Check>
void for_each_seed(const Check& check) {
  const json golden = json::parse(
      read_text_file(std::string(SALA_TEST_SOURCE_DIR) + "/tests/golden/data/random.json"));
  int n_checked = 0;
  for (const auto& [seed, vectors] : golden["seeds"].items()) {
    if (!vectors.contains("np_u32")) continue;
    SCOPED_TRACE("seed " + seed);
    check(static_cast<std::uint32_t>(std::stoull(seed)), vectors);
    ++n_checked;
  }
  EXPECT_GE(n_checked, 5);
}

TEST(NumpyRandom, words_and_doubles_match) {
  for_each_seed([](std::uint32_t seed, const json& vectors) {
    NumpyRandom words(seed);
    for (const std::uint32_t expected : vectors["np_u32"]) EXPECT_EQ(words.next_u32(), expected);
    NumpyRandom doubles(seed);
    for (const double expected : vectors["np_uniform_0_1"]) EXPECT_EQ(doubles.random(), expected);
  });
}

TEST(NumpyRandom, integers_match) {
  for_each_seed([](std::uint32_t seed, const json& vectors) {
    NumpyRandom random(seed);
    for (const std::int64_t expected : vectors["np_randint_10000_99999"]) {
      EXPECT_EQ(random.randint(10000, 99999), expected);
    }
    NumpyRandom ranges(seed);  // one after the other
    for (const json& row : vectors["np_randint"]) {
      for (const std::int64_t expected : row[2]) {
        EXPECT_EQ(ranges.randint(row[0], row[1]), expected) << row;
      }
    }
    NumpyRandom choice(seed);
    for (const std::int64_t expected : vectors["np_choice_of_10"]) {
      EXPECT_EQ(choice.randint(0, 10), expected);
    }
  });
}

TEST(NumpyRandom, a_range_of_one_draws_nothing) {
  NumpyRandom random(42);
  EXPECT_EQ(random.randint(7, 8), 7);
  EXPECT_EQ(random.next_u32(), NumpyRandom(42).next_u32());
}

}  // namespace
}  // namespace sala
