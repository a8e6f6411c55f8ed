// Chooses the interval and the test that the scores allow.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/estimate.h"

#include <algorithm>

#include "engine/base/error.h"
#include "harness/compare/distributions.h"

namespace sala {
namespace {

bool is_fractional(double score) {
  return score > 0 && score < 1;
}

bool all_equal(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(),
                     [&](double value) { return value == values.front(); });
}

std::int64_t count_clusters(const std::vector<double>& values,
                            const std::vector<std::string>& clusters) {
  return static_cast<std::int64_t>(ClusterSums(values, clusters).size());
}

/// Share of pairs that differ, by the rule of three where none did.
double cautious_discordance(const PairedDifference& paired) {
  return std::clamp(paired.discordance, 3 / static_cast<double>(paired.n), 1.0);
}

}  // namespace

Accuracy estimate_accuracy(const ClusteredScores& scores) {
  SALA_CHECK(!scores.scores.empty(), "an accuracy needs a score");
  Accuracy out;
  out.n = static_cast<std::int64_t>(scores.scores.size());
  for (const double score : scores.scores) {
    out.n_correct += score == 1 ? 1 : 0;
    out.fractional |= is_fractional(score);
  }
  out.n_clusters = count_clusters(scores.scores, scores.clusters);
  out.mean = mean(scores.scores);
  const bool independent = out.n_clusters == out.n;
  if (all_equal(scores.scores)) {
    out.interval = wilson_mean_interval(out.mean, out.n_clusters);
  } else if (out.n_clusters == 1 || (independent && !out.fractional)) {
    out.interval = wilson_mean_interval(out.mean, out.n);
  } else {
    out.interval = bootstrap_mean_interval(scores.scores, scores.clusters);
  }
  return out;
}

double PairedDifference::detectable() const {
  return detectable_difference(n, cautious_discordance(*this));
}

std::int64_t PairedDifference::samples_needed() const {
  return samples_for_difference(kSameMargin, cautious_discordance(*this));
}

PairedDifference compare_paired(const std::vector<double>& first, const std::vector<double>& second,
                                const std::vector<std::string>& clusters, double tail) {
  SALA_CHECK(!first.empty() && first.size() == second.size(), "pairs need two scores each");
  PairedDifference out;
  std::int64_t both = 0;
  bool fractional = false;
  std::vector<double> differences;
  for (std::size_t i = 0; i < first.size(); ++i) {
    const double a = first[i];
    const double b = second[i];
    ++out.n;
    both += a == 1 && b == 1 ? 1 : 0;
    out.only_first += a == 1 && b != 1 ? 1 : 0;
    out.only_second += a != 1 && b == 1 ? 1 : 0;
    fractional |= is_fractional(a) || is_fractional(b);
    differences.push_back(a - b);
    out.discordance += (a - b) * (a - b);
  }
  out.discordance /= static_cast<double>(out.n);
  out.difference = mean(differences);
  const ClusterSums sums(differences, clusters);
  const bool independent = sums.size() == differences.size();
  const std::int64_t neither = out.n - both - out.only_first - out.only_second;
  const bool is_binary = independent && !fractional;
  // A bootstrap of equal differences, or of one cluster, has no width, however few there are.
  out.interval = is_binary || all_equal(differences) || sums.size() == 1
                     ? paired_difference_interval(both, out.only_first, out.only_second, neither,
                                                  -normal_quantile(tail))
                     : bootstrap_mean_interval(differences, clusters, 2000, 42, tail);
  out.p = is_binary ? mcnemar_exact(out.only_first, out.only_second) : sign_flip(sums.totals());
  out.p_holm = out.p;
  out.p_drop = is_binary            ? mcnemar_one_sided(out.only_first, out.only_second)
               : out.difference > 0 ? out.p / 2
                                    : 1 - out.p / 2;
  return out;
}

Verdict verdict_of(const PairedDifference& paired) {
  if (paired.p_holm < 0.05 && paired.interval.low > 0) return Verdict::better;
  if (paired.p_holm < 0.05 && paired.interval.high < 0) return Verdict::worse;
  if (paired.interval.low >= -kSameMargin && paired.interval.high <= kSameMargin) {
    return Verdict::same;
  }
  return Verdict::undecided;
}

}  // namespace sala
