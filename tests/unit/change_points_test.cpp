// Change points: planted steps are found where and as large as they are, and noise shows none.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/change_points.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>

namespace sala {
namespace {

constexpr double kOnePercent = 0.00995;  // ln 1.01

/// The same draws with every standard library.
class Noise {
 public:
  explicit Noise(std::uint64_t seed) : generator_(seed) {}

  double uniform() { return (static_cast<double>(generator_() >> 11) + 0.5) * 0x1p-53; }
  double normal() {
    return std::sqrt(-2 * std::log(uniform())) * std::cos(6.283185307179586 * uniform());
  }
  double laplace() { return (uniform() < 0.5 ? -1 : 1) * std::log(uniform()); }
  double student3() {
    double squares = 0;
    for (int i = 0; i < 3; ++i) squares += std::pow(normal(), 2);
    return normal() / std::sqrt(squares / 3);
  }
  double skewed() { return -std::log(uniform()); }
  double with_outliers() { return (uniform() < 0.1 ? 10 : 1) * normal(); }
  double with_ties() { return std::round(2 * normal()) / 2; }

 private:
  std::mt19937_64 generator_;
};

using Shape = double (Noise::*)();

/// Values of `levels`, each so many times, with normal noise.
std::vector<double> series(const std::vector<std::pair<int, double>>& levels, double deviation,
                           std::uint64_t seed) {
  Noise noise(seed);
  std::vector<double> values;
  for (const auto& [n, level] : levels) {
    for (int i = 0; i < n; ++i) values.push_back(level + deviation * noise.normal());
  }
  return values;
}

double false_alarm_rate(Shape shape, int n, int trials) {
  int alarms = 0;
  for (int trial = 0; trial < trials; ++trial) {
    Noise noise(static_cast<std::uint64_t>(1000 * n + trial));
    std::vector<double> values(static_cast<std::size_t>(n));
    for (double& value : values) value = (noise.*shape)();
    // A step far below the noise counts, so that only the fit stands between noise and an alarm.
    alarms += change_points(values, 0.01).empty() ? 0 : 1;
  }
  return static_cast<double>(alarms) / trials;
}

TEST(change_points, a_planted_step_is_found_at_its_place_and_size) {
  int found = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const auto changes =
        change_points(series({{8, 2.0}, {6, 2.0 + std::log(1.05)}}, 0.005, seed), kOnePercent);
    if (changes.size() != 1 || changes[0].at != 8) continue;
    ++found;
    EXPECT_NEAR(changes[0].after - changes[0].before, std::log(1.05), 0.015);
  }
  EXPECT_GE(found, 198);
}

TEST(change_points, steps_up_and_down_are_all_found) {
  const auto changes =
      change_points(series({{5, 0.0}, {7, 0.2}, {4, 0.1}, {9, 0.3}}, 0.004, 1), kOnePercent);
  ASSERT_EQ(changes.size(), 3);
  EXPECT_EQ(changes[0].at, 5);
  EXPECT_EQ(changes[1].at, 12);
  EXPECT_EQ(changes[2].at, 16);
  EXPECT_NEAR(changes[1].before, 0.2, 0.01);
  EXPECT_NEAR(changes[1].after, 0.1, 0.01);
  EXPECT_EQ(changes[1].before, changes[0].after);
}

TEST(change_points, three_runs_on_either_side_suffice_for_a_clear_step) {
  const auto changes = change_points(std::vector{1.0, 1.001, 0.999, 1.05, 1.051, 1.049}, 0.01);
  ASSERT_EQ(changes.size(), 1);
  EXPECT_EQ(changes[0].at, 3);
  EXPECT_DOUBLE_EQ(changes[0].before, 1.0);
  EXPECT_DOUBLE_EQ(changes[0].after, 1.05);
}

TEST(change_points, counted_numbers_that_never_vary_show_a_step_of_two_percent) {
  const auto changes = change_points(std::vector{7.0, 7.0, 7.0, 7.0, 7.02, 7.02, 7.02}, 0.01);
  ASSERT_EQ(changes.size(), 1);
  EXPECT_EQ(changes[0].at, 4);
}

TEST(change_points, at_most_one_in_a_hundred_series_of_noise_alone_shows_a_step) {
  const std::vector<std::pair<const char*, Shape>> shapes{
      {"normal", &Noise::normal},      {"Laplace", &Noise::laplace},
      {"Student 3", &Noise::student3}, {"uniform", &Noise::uniform},
      {"skewed", &Noise::skewed},      {"one in ten ten times as wide", &Noise::with_outliers},
      {"ties", &Noise::with_ties}};
  for (const auto& [name, shape] : shapes) {
    for (const auto& [n, trials] :
         {std::pair{6, 2000}, {10, 2000}, {20, 2000}, {50, 1000}, {100, 500}}) {
      const double rate = false_alarm_rate(shape, n, trials);
      RecordProperty(std::string(name) + " " + std::to_string(n), std::to_string(rate));
      EXPECT_LE(rate, 0.01) << name << ", " << n << " values";
    }
  }
}

TEST(change_points, equal_values_have_none) {
  EXPECT_TRUE(change_points(std::vector<double>(40, 3.5), kOnePercent).empty());
}

TEST(change_points, one_wild_value_is_none_wherever_it_lies) {
  for (const bool noisy : {false, true}) {
    for (std::size_t at = 0; at < 15; ++at) {
      std::vector<double> values = series({{15, 1.0}}, noisy ? 0.003 : 0, at);
      values[at] += 0.5;
      EXPECT_TRUE(change_points(values, kOnePercent).empty()) << noisy << " " << at;
    }
  }
}

TEST(change_points, two_wild_values_at_an_end_are_not_a_level_yet) {
  std::vector<double> values(20, 1.0);
  values[18] = values[19] = 1.5;
  EXPECT_TRUE(change_points(values, kOnePercent).empty());
  values = std::vector<double>(20, 1.0);
  values[0] = values[1] = 1.5;
  EXPECT_TRUE(change_points(values, kOnePercent).empty());
}

TEST(change_points, a_step_smaller_than_asked_for_is_left_out) {
  const std::vector<double> values = series({{10, 0.0}, {10, 0.008}}, 0.0002, 3);
  EXPECT_TRUE(change_points(values, kOnePercent).empty());
  EXPECT_EQ(change_points(values, 0.005).size(), 1);
}

TEST(change_points, ties_on_both_levels_do_not_move_the_step) {
  const auto changes =
      change_points(std::vector{1.0, 1.0, 1.01, 1.0, 1.01, 1.2, 1.21, 1.2, 1.2}, 0.01);
  ASSERT_EQ(changes.size(), 1);
  EXPECT_EQ(changes[0].at, 5);
}

TEST(change_points, too_few_values_have_none) {
  EXPECT_TRUE(change_points({}, kOnePercent).empty());
  EXPECT_TRUE(change_points(std::vector{1.0, 1.0, 1.0, 9.0, 9.0}, kOnePercent).empty());
}

}  // namespace
}  // namespace sala
