// Every statistic against numbers that SciPy, or the definition itself, gave.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/statistics.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/base/mapped_file.h"
#include "harness/compare/distributions.h"
#include "harness/compare/resampling.h"

namespace sala {
namespace {

using nlohmann::json;

const json& golden() {
  static const json numbers = json::parse(
      read_text_file(std::string(SALA_TEST_SOURCE_DIR) + "/tests/golden/data/statistics.json"));
  return numbers;
}

/// 1e-12 relative, which leaves no room for another formula.
void expect_same(double got, const json& expected, const std::string& what) {
  const auto value = expected.get<double>();
  EXPECT_NEAR(got, value, 1e-12 * std::max(std::abs(value), 1e-3)) << what;
}

std::vector<std::string> names(const json& clusters) {
  std::vector<std::string> names;
  for (const auto& cluster : clusters) names.push_back(cluster.dump());
  return names;
}

TEST(golden_statistics, quantiles_of_the_normal_distribution) {
  for (const auto& [p, z] : golden()["z"].items()) {
    expect_same(normal_quantile(std::stod(p)), z, p);
  }
  EXPECT_EQ(kZ975, golden()["z"]["0.975"]);
  EXPECT_EQ(kZ800, golden()["z"]["0.8"]);
}

TEST(golden_statistics, quantiles_of_students_t) {
  for (const auto& [key, t] : golden()["t"].items()) {
    const auto comma = key.find(',');
    const double p = std::stod(key.substr(0, comma));
    const double degrees = std::stod(key.substr(comma + 1));
    // SciPy's own quantiles of t are good to ten digits, as those of one degree show.
    EXPECT_NEAR(student_t_quantile(p, degrees), t.get<double>(), 1e-10 * t.get<double>()) << key;
  }
  for (const double p : {0.6, 0.975, 0.995}) {
    const double exact = std::tan(M_PI * (p - 0.5));
    EXPECT_NEAR(student_t_quantile(p, 1), exact, 1e-12 * exact) << p;
  }
}

TEST(golden_statistics, intervals_of_proportions) {
  for (const auto& row : golden()["wilson"]) {
    const Interval got = wilson_interval(row["k"], row["n"]);
    expect_same(got.low, row["lo"], row.dump());
    expect_same(got.high, row["hi"], row.dump());
  }
  for (const auto& row : golden()["clopper_pearson"]) {
    const Interval got = clopper_pearson_interval(row["k"], row["n"]);
    expect_same(got.low, row["lo"], row.dump());
    expect_same(got.high, row["hi"], row.dump());
  }
  for (const auto& row : golden()["rule_of_three"]) {
    expect_same(zero_failures_bound(row["n"]), row["upper"], row.dump());
  }
}

TEST(golden_statistics, mcnemar) {
  for (const auto& row : golden()["mcnemar_exact"]) {
    expect_same(mcnemar_exact(row["b"], row["c"]), row["p"], row.dump());
    expect_same(mcnemar_mid_p(row["b"], row["c"]), row["mid_p"], row.dump());
  }
}

TEST(golden_statistics, adjusted_p_values) {
  for (const auto& [name, adjust] :
       {std::pair{"holm", &holm_adjusted}, std::pair{"bh", &benjamini_hochberg_adjusted}}) {
    const auto p = golden()[name]["p"].get<std::vector<double>>();
    const std::vector<double> got = adjust(p);
    for (std::size_t i = 0; i < p.size(); ++i) {
      expect_same(got[i], golden()[name]["adjusted"][i], name);
    }
  }
}

TEST(golden_statistics, sign_flip_test_exact_and_sampled) {
  const json& rows = golden()["sign_flip"];
  std::vector<double> differences(rows["a"].size());
  for (std::size_t i = 0; i < differences.size(); ++i) {
    differences[i] = rows["a"][i].get<double>() - rows["b"][i].get<double>();
  }
  EXPECT_EQ(sign_flip_exact(differences), rows["exact"]);
  EXPECT_EQ(sign_flip(differences), rows["exact"]);
  for (const auto& row : rows["monte_carlo"]) {
    EXPECT_EQ(sign_flip_sampled(differences, row["replicates"], row["seed"]), row["p"]) << row;
  }
  const json& paired = golden()["paired"];
  expect_same(mean(differences), paired["mean"], "mean");
  expect_same(standard_error(differences), paired["se"], "se");
  expect_same(t_interval(differences).low, paired["t_ci95"][0], "low");
  expect_same(t_interval(differences).high, paired["t_ci95"][1], "high");
}

TEST(golden_statistics, clustered_errors_and_bootstraps) {
  const json& rows = golden()["cluster"];
  const auto values = rows["values"].get<std::vector<double>>();
  const std::vector<std::string> clusters = names(rows["cluster"]);
  expect_same(mean(values), rows["mean"], "mean");
  expect_same(standard_error(values), rows["se"], "se");
  expect_same(clustered_standard_error(values, clusters), rows["clustered_se"], "clustered se");
  for (const auto& row : rows["bootstrap"]) {
    const int replicates = row["replicates"];
    const auto means = bootstrap_means(values, clusters, replicates, row["seed"]);
    const Interval got = bootstrap_mean_interval(values, clusters, replicates, row["seed"]);
    expect_same(got.low, row["lo"], row.dump());
    expect_same(got.high, row["hi"], row.dump());
    expect_same(sample_deviation(means), row["sd"], row.dump());
  }
  std::vector<std::string> apart(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) apart[i] = std::to_string(i);
  for (const auto& row : rows["iid_bootstrap"]) {
    const Interval got = bootstrap_mean_interval(values, apart, row["replicates"], row["seed"]);
    expect_same(got.low, row["lo"], row.dump());
    expect_same(got.high, row["hi"], row.dump());
  }
}

TEST(golden_statistics, detectable_differences_and_sizes) {
  const json& rows = golden()["mde"];
  expect_same(kZ975 + kZ800, rows["z_sum"], "z");
  for (const auto& row : rows["paired"]) {
    expect_same(100 * detectable_difference(row["n"], row["discordance"]), row["points"],
                row.dump());
  }
  for (const auto& row : rows["unpaired"]) {
    expect_same(100 * detectable_unpaired_difference(row["n"], row["p"]), row["points"],
                row.dump());
  }
  for (const auto& row : rows["n_for"]) {
    EXPECT_EQ(samples_for_difference(row["delta_points"].get<double>() / 100, row["discordance"]),
              row["n"])
        << row;
  }
  for (const auto& row : golden()["avg13_half_width_95"]) {
    expect_same(100 * task_mean_half_width(13, row["n"], row["p"]), row["points"], row.dump());
  }
}

TEST(golden_statistics, decimals_are_rounded_as_python_rounds_them) {
  for (const auto& row : golden()["round2"]) {
    EXPECT_EQ(std::stod(fmt::format("{:.2f}", row["x"].get<double>())), row["r"]) << row;
  }
}

}  // namespace
}  // namespace sala
