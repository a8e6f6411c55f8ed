// Means, weighted means and the threshold.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/ruler_summary.h"

#include <algorithm>

namespace sala {
namespace {

void sort_by_length(std::vector<RulerLengthScore>& lengths) {
  std::sort(lengths.begin(), lengths.end(),
            [](const auto& a, const auto& b) { return a.length < b.length; });
}

}  // namespace

std::vector<std::string> missing_ruler_tasks(const std::set<std::string, std::less<>>& tasks) {
  std::vector<std::string> missing;
  for (const std::string_view task : kRulerTasks) {
    if (!tasks.contains(task)) missing.emplace_back(task);
  }
  return missing;
}

double ruler_average(std::span<const RulerLengthScore> lengths) {
  double sum = 0;
  for (const RulerLengthScore& length : lengths) sum += length.score;
  return sum / static_cast<double>(lengths.size());
}

double ruler_weighted_average(std::vector<RulerLengthScore> lengths, RulerWeights weights) {
  sort_by_length(lengths);
  if (weights == RulerWeights::decreasing) std::reverse(lengths.begin(), lengths.end());
  double sum = 0;
  double weight = 0;
  double total = 0;
  for (const RulerLengthScore& length : lengths) {
    weight += 1;
    total += weight;
    sum += weight * length.score;
  }
  return sum / total;
}

std::optional<std::int64_t> ruler_effective_length(std::vector<RulerLengthScore> lengths,
                                                   RulerRule rule) {
  sort_by_length(lengths);
  std::optional<std::int64_t> effective;
  for (const RulerLengthScore& length : lengths) {
    if (length.score >= kRulerThreshold) {
      effective = length.length;
    } else if (rule == RulerRule::strict) {
      break;
    }
  }
  return effective;
}

}  // namespace sala
