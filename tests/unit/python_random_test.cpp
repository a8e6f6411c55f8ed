// Random numbers against values drawn by CPython.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/python_random.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "engine/base/sha256.h"

namespace sala {
namespace {

using nlohmann::json;

/// Runs a check with each seed's vectors.
template <typename Check>
void for_each_seed(const Check& check) {
  const json golden = json::parse(read_text_file(std::filesystem::path(SALA_TEST_SOURCE_DIR) /
                                                 "tests/golden/data/random.json"));
  for (const auto& [seed, vectors] : golden["seeds"].items()) {
    SCOPED_TRACE("seed " + seed);
    check(std::stoull(seed), vectors);
  }
}

template <typename T>
json first(const std::vector<T>& items, std::size_t n) {
  return std::vector<T>(items.begin(),
                        items.begin() + static_cast<std::ptrdiff_t>(std::min(n, items.size())));
}

TEST(PythonRandom, words_match_across_regenerations) {
  for_each_seed([](std::uint64_t seed, const json& vectors) {
    PythonRandom random(seed);
    std::vector<std::uint32_t> drawn;
    for (int i = 0; i <= 1248; ++i) drawn.push_back(random.next_u32());
    EXPECT_EQ(first(drawn, vectors["u32"].size()), vectors["u32"]);
    const json late{drawn[623], drawn[624], drawn[625], drawn[1247], drawn[1248]};
    EXPECT_EQ(late, vectors["u32_index_623_624_625_1247_1248"]);
  });
}

TEST(PythonRandom, doubles_are_bit_equal) {
  for_each_seed([](std::uint64_t seed, const json& vectors) {
    PythonRandom random(seed);
    for (const double expected : vectors["random"]) EXPECT_EQ(random.random(), expected);
  });
}

TEST(PythonRandom, bits_match) {
  for_each_seed([](std::uint64_t seed, const json& vectors) {
    PythonRandom random(seed);
    for (const json& row : vectors["getrandbits"]) {
      const int k = row[0];
      if (k > 64) break;
      EXPECT_EQ(std::to_string(random.getrandbits(k)), row[1].get<std::string>()) << k << " bits";
    }
  });
}

TEST(PythonRandom, uuids_match) {
  for_each_seed([](std::uint64_t seed, const json& vectors) {
    PythonRandom random(seed);
    for (const std::string expected : vectors["uuid4"]) EXPECT_EQ(random.uuid(), expected);
  });
}

TEST(PythonRandom, integers_match) {
  for_each_seed([](std::uint64_t seed, const json& vectors) {
    PythonRandom numbers(seed);
    for (const std::int64_t expected : vectors["randint_1000000_9999999"]) {
      EXPECT_EQ(numbers.randint(1000000, 9999999), expected);
    }
    PythonRandom below(seed);
    for (const json& row : vectors["randbelow"]) {
      for (const std::uint64_t expected : row[1]) {
        EXPECT_EQ(below.randbelow(row[0]), expected) << "below " << row[0];
      }
    }
    std::vector<int> items(6171620);
    std::iota(items.begin(), items.end(), 0);
    PythonRandom random(seed);
    for (const int expected : vectors["choice_6171620"]) EXPECT_EQ(random.choice(items), expected);
  });
}

TEST(PythonRandom, choices_match) {
  for_each_seed([](std::uint64_t seed, const json& vectors) {
    std::vector<char> letters(26);
    std::iota(letters.begin(), letters.end(), 'A');
    PythonRandom random(seed);
    for (const std::string expected : vectors["choices_upper_5"]) {
      const auto drawn = random.choices(letters, expected.size());
      EXPECT_EQ(std::string(drawn.begin(), drawn.end()), expected);
    }
    std::iota(letters.begin(), letters.end(), 'a');
    PythonRandom lower(seed);
    for (const std::string expected : vectors["choices_lower_6"]) {
      const auto drawn = lower.choices(letters, expected.size());
      EXPECT_EQ(std::string(drawn.begin(), drawn.end()), expected);
    }
  });
}

TEST(PythonRandom, samples_match_and_leave_the_same_state) {
  for_each_seed([](std::uint64_t seed, const json& vectors) {
    for (const json& row : vectors["sample"]) {
      PythonRandom random(seed);
      const auto drawn = random.sample(row["n"], row["k"]);
      EXPECT_EQ(first(drawn, row["first"].size()), row["first"]) << row;
      EXPECT_EQ(sha256_hex(json(drawn).dump()), row["sha256"].get<std::string>()) << row;
      EXPECT_EQ(random.next_u32(), row["next"]) << row;
    }
  });
}

TEST(PythonRandom, shuffles_match_and_leave_the_same_state) {
  for_each_seed([](std::uint64_t seed, const json& vectors) {
    for (const json& row : vectors["shuffle"]) {
      PythonRandom random(seed);
      std::vector<std::size_t> items(row["n"].get<std::size_t>());
      std::iota(items.begin(), items.end(), std::size_t{0});
      random.shuffle(items);
      EXPECT_EQ(first(items, row["first"].size()), row["first"]) << row;
      EXPECT_EQ(sha256_hex(json(items).dump()), row["sha256"].get<std::string>()) << row;
      EXPECT_EQ(random.next_u32(), row["next"]) << row;
    }
  });
}

TEST(PythonRandom, a_sample_larger_than_its_population_is_an_error) {
  EXPECT_THROW(PythonRandom(0).sample(3, 4), Error);
  EXPECT_TRUE(PythonRandom(0).sample(0, 0).empty());
}

}  // namespace
}  // namespace sala
