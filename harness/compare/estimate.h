// Scores of a set of prompts as one number with its margin, and two such sets against each other.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "harness/compare/resampling.h"
#include "harness/compare/statistics.h"

namespace sala {

/// Accuracy is called the same when the interval of the difference lies within this margin.
inline constexpr double kSameMargin = 0.02;

/// Scores of one subject on one set of prompts.
struct Accuracy {
  std::int64_t n = 0;
  std::int64_t n_correct = 0;   // of score 1
  std::int64_t n_clusters = 0;  // sets of prompts that are independent of each other
  bool fractional = false;      // some score lies strictly between 0 and 1
  double mean = 0;
  /// 95 %: Wilson for independent 0/1 scores, else a bootstrap over clusters. Equal scores, and
  /// those of one cluster, say nothing of their spread: there Wilson's interval is kept.
  Interval interval;
};

/// scores: one or more, with a cluster each.
Accuracy estimate_accuracy(const ClusteredScores& scores);

/// Two subjects on the same prompts.
struct PairedDifference {
  std::int64_t n = 0;
  std::int64_t only_first = 0;   // correct for the first subject alone
  std::int64_t only_second = 0;  // correct for the second subject alone
  double difference = 0;         // mean score of the first minus the second
  Interval interval;             // 95 % unless asked otherwise
  /// Two-sided: exact McNemar for independent 0/1 scores, else a sign-flip test over clusters.
  double p = 1;
  double p_holm = 1;       // adjusted over the rows of its table
  double p_drop = 1;       // one-sided: the second scores no lower than the first
  double discordance = 0;  // mean square of the differences: the share that differs, if 0/1

  /// Smallest true difference that this many prompts find with 80 % power.
  double detectable() const;
  /// Prompts that would settle a difference of kSameMargin.
  std::int64_t samples_needed() const;
};

/// Scores of two subjects prompt by prompt: one or more, equally many, with a cluster each. tail:
/// what the interval leaves out at either end.
PairedDifference compare_paired(const std::vector<double>& first, const std::vector<double>& second,
                                const std::vector<std::string>& clusters, double tail = 0.025);

enum class Verdict { none, better, worse, same, undecided };

/// What may be said of the first subject: better or worse when the interval excludes 0 and the
/// adjusted p is below 5 %, the same when it lies within kSameMargin, else undecided.
Verdict verdict_of(const PairedDifference& paired);

/// Holm's adjustment over the rows that have a pair; Row has std::optional<PairedDifference>
/// paired.
template <typename Row>
void adjust_p_values(std::vector<Row>& rows) {
  std::vector<double> p;
  for (const Row& row : rows) {
    if (row.paired) p.push_back(row.paired->p);
  }
  const std::vector<double> adjusted = holm_adjusted(p);
  std::size_t next = 0;
  for (Row& row : rows) {
    if (row.paired) row.paired->p_holm = adjusted[next++];
  }
}

}  // namespace sala
