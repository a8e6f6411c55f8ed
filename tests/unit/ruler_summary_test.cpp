// RULER's aggregates against rows of its published table.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/ruler_summary.h"

#include <gtest/gtest.h>

#include <cmath>

namespace sala {
namespace {

struct Row {
  const char* model;
  std::array<double, 6> scores;  // 4K ... 128K
  std::int64_t effective;
  double average;
  double increasing;
  double decreasing;
};

constexpr Row kPublished[] = {
    {"GPT-4-1106", {96.6, 96.3, 95.2, 93.2, 87.0, 81.2}, 64, 91.6, 89.0, 94.1},
    {"Llama-3.1-8B", {95.5, 93.8, 91.6, 87.4, 84.7, 77.0}, 32, 88.3, 85.4, 91.3},
    {"Mistral-7B-v0.2", {93.6, 91.2, 87.2, 75.4, 49.0, 13.8}, 16, 68.4, 55.6, 81.2},
    {"Jamba-1.5-large", {96.7, 96.6, 96.4, 96.0, 95.4, 95.1}, 128, 96.0, 95.7, 96.3},
    {"DBRX", {95.1, 93.8, 83.6, 63.1, 2.4, 0.0}, 8, 56.3, 38.0, 74.7},
};

std::vector<RulerLengthScore> lengths_of(const Row& row) {
  std::vector<RulerLengthScore> lengths;
  lengths.reserve(row.scores.size());
  for (std::size_t i = 0; i < row.scores.size(); ++i) {
    lengths.push_back({std::int64_t{4096} << i, row.scores[i]});
  }
  std::swap(lengths.front(), lengths.back());  // the order does not matter
  return lengths;
}

double one_decimal(double value) {
  return std::round(value * 10) / 10;
}

TEST(RulerSummary, published_rows_come_out) {
  for (const Row& row : kPublished) {
    const auto lengths = lengths_of(row);
    EXPECT_EQ(one_decimal(ruler_average(lengths)), row.average) << row.model;
    EXPECT_EQ(one_decimal(ruler_weighted_average(lengths, RulerWeights::increasing)),
              row.increasing)
        << row.model;
    EXPECT_EQ(one_decimal(ruler_weighted_average(lengths, RulerWeights::decreasing)),
              row.decreasing)
        << row.model;
    for (const RulerRule rule : {RulerRule::published, RulerRule::strict}) {
      EXPECT_EQ(ruler_effective_length(lengths, rule), row.effective * 1024) << row.model;
    }
  }
}

TEST(RulerSummary, a_dip_ends_the_effective_length_in_strict_mode_only) {
  const std::vector<RulerLengthScore> lengths{{4096, 90}, {8192, 85.5}, {16384, 85.6}};
  EXPECT_EQ(ruler_effective_length(lengths, RulerRule::published), 16384);
  EXPECT_EQ(ruler_effective_length(lengths, RulerRule::strict), 4096);
  EXPECT_EQ(ruler_effective_length({{4096, 85.59}}, RulerRule::published), std::nullopt);
}

TEST(RulerSummary, what_is_missing_is_named_in_rulers_order) {
  std::set<std::string, std::less<>> tasks(kRulerTasks.begin(), kRulerTasks.end());
  tasks.insert("passkey");
  EXPECT_TRUE(missing_ruler_tasks(tasks).empty());
  tasks.erase("cwe");
  tasks.erase("niah_single_3");
  EXPECT_EQ(missing_ruler_tasks(tasks), (std::vector<std::string>{"niah_single_3", "cwe"}));
}

}  // namespace
}  // namespace sala
