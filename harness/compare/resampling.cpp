// Draws follow CPython's random module, so that any figure can be checked by a few lines of Python.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/resampling.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "engine/base/error.h"

namespace sala {
namespace {

/// Fills the state of std::mt19937 as Python's random.seed(int) does (init_by_array of one word).
struct PythonSeed {
  using result_type = std::uint32_t;
  std::uint32_t seed;

  template <typename It>
  void generate(It begin, It end) const {
    std::array<std::uint32_t, 624> state;
    state[0] = 19650218U;
    const auto step = [](std::uint32_t previous) { return previous ^ (previous >> 30); };
    for (std::uint32_t i = 1; i < 624; ++i) {
      state[i] = 1812433253U * step(state[i - 1]) + i;
    }
    std::uint32_t i = 1;
    for (int n = 0; n < 624; ++n) {
      state[i] = (state[i] ^ (step(state[i - 1]) * 1664525U)) + seed;
      if (++i == 624) {
        state[0] = state[623];
        i = 1;
      }
    }
    for (int n = 0; n < 623; ++n) {
      state[i] = (state[i] ^ (step(state[i - 1]) * 1566083941U)) - i;
      if (++i == 624) {
        state[0] = state[623];
        i = 1;
      }
    }
    state[0] = 0x80000000U;
    std::copy(state.begin(), state.begin() + (end - begin), begin);
  }
};

std::vector<double> non_zero(std::span<const double> differences) {
  std::vector<double> kept;
  std::copy_if(differences.begin(), differences.end(), std::back_inserter(kept),
               [](double d) { return d != 0; });
  return kept;
}

/// The least sum that counts as at least as far from zero as what was seen.
double extreme(const std::vector<double>& differences) {
  return std::fabs(std::accumulate(differences.begin(), differences.end(), 0.0)) - 1e-9;
}

}  // namespace

std::mt19937 python_generator(std::uint32_t seed) {
  PythonSeed sequence{seed};
  return std::mt19937(sequence);
}

std::uint32_t rand_below(std::mt19937& generator, std::uint32_t n) {
  const int bits = static_cast<int>(std::bit_width(n));
  std::uint32_t r;
  do {
    r = static_cast<std::uint32_t>(generator()) >> (32 - bits);
  } while (r >= n);
  return r;
}

ClusterSums::ClusterSums(std::span<const double> values, std::span<const std::string> clusters) {
  SALA_CHECK(!values.empty() && values.size() == clusters.size(), "one cluster name a value");
  std::unordered_map<std::string, std::size_t> index;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto [it, added] = index.try_emplace(clusters[i], sums_.size());
    if (added) sums_.emplace_back();
    sums_[it->second].total += values[i];
    sums_[it->second].count += 1;
  }
}

std::vector<double> ClusterSums::totals() const {
  std::vector<double> totals;
  totals.reserve(sums_.size());
  for (const Sum& sum : sums_) totals.push_back(sum.total);
  return totals;
}

double ClusterSums::draw_mean(std::mt19937& generator) const {
  Sum drawn;
  for (std::size_t c = 0; c < sums_.size(); ++c) {
    const Sum& sum = sums_[rand_below(generator, static_cast<std::uint32_t>(sums_.size()))];
    drawn.total += sum.total;
    drawn.count += sum.count;
  }
  return drawn.total / drawn.count;
}

std::vector<double> bootstrap_means(std::span<const double> values,
                                    std::span<const std::string> clusters, int replicates,
                                    std::uint32_t seed) {
  const ClusterSums sums(values, clusters);
  std::mt19937 generator = python_generator(seed);
  std::vector<double> means;
  means.reserve(static_cast<std::size_t>(replicates));
  for (int r = 0; r < replicates; ++r) means.push_back(sums.draw_mean(generator));
  std::sort(means.begin(), means.end());
  return means;
}

Interval bootstrap_mean_interval(std::span<const double> values,
                                 std::span<const std::string> clusters, int replicates,
                                 std::uint32_t seed, double tail) {
  const std::vector<double> means = bootstrap_means(values, clusters, replicates, seed);
  return {quantile(means, tail), quantile(means, 1 - tail)};
}

double sign_flip_exact(std::span<const double> differences) {
  const std::vector<double> kept = non_zero(differences);
  SALA_CHECK(kept.size() <= 30, "an exact sign-flip test of more than 2^30 cases has no end");
  const double limit = extreme(kept);
  const std::uint64_t cases = std::uint64_t{1} << kept.size();
  std::uint64_t hits = 0;
  for (std::uint64_t signs = 0; signs < cases; ++signs) {
    double sum = 0;
    for (std::size_t i = 0; i < kept.size(); ++i) {
      sum += (signs >> i & 1) != 0 ? -kept[i] : kept[i];
    }
    hits += std::fabs(sum) >= limit ? 1 : 0;
  }
  return static_cast<double>(hits) / static_cast<double>(cases);
}

double sign_flip_sampled(std::span<const double> differences, int replicates, std::uint32_t seed) {
  const std::vector<double> kept = non_zero(differences);
  const double limit = extreme(kept);
  std::mt19937 generator = python_generator(seed);
  int hits = 0;
  for (int r = 0; r < replicates; ++r) {
    double sum = 0;
    for (const double d : kept) sum += generator() >> 31 != 0 ? -d : d;  // random.getrandbits(1)
    hits += std::fabs(sum) >= limit ? 1 : 0;
  }
  return (1.0 + hits) / (replicates + 1.0);
}

double sign_flip(std::span<const double> differences) {
  constexpr std::size_t kMostExact = 20;
  constexpr int kReplicates = 9999;
  constexpr std::uint32_t kSeed = 42;
  if (non_zero(differences).size() <= kMostExact) return sign_flip_exact(differences);
  return sign_flip_sampled(differences, kReplicates, kSeed);
}

LengthScore length_score(std::span<const ClusteredScores> tasks, double threshold, int replicates,
                         std::uint32_t seed) {
  SALA_CHECK(!tasks.empty(), "a length score needs a task");
  const auto n_tasks = static_cast<double>(tasks.size());
  LengthScore out;
  std::vector<ClusterSums> sums;
  for (const ClusteredScores& task : tasks) {
    out.mean += mean(task.scores) / n_tasks;
    sums.emplace_back(task.scores, task.clusters);
  }
  std::mt19937 generator = python_generator(seed);
  std::vector<double> scores;
  scores.reserve(static_cast<std::size_t>(replicates));
  int reached = 0;
  for (int r = 0; r < replicates; ++r) {
    double total = 0;
    for (const ClusterSums& task : sums) total += task.draw_mean(generator);
    scores.push_back(total / n_tasks);
    reached += scores.back() >= threshold ? 1 : 0;
  }
  std::sort(scores.begin(), scores.end());
  out.interval = {quantile(scores, 0.025), quantile(scores, 0.975)};
  if (scores.front() == scores.back()) {
    // Equal scores say nothing of their spread, and a resample of them neither.
    std::size_t n_clusters = 0;
    for (const ClusterSums& task : sums) n_clusters += task.size();
    out.interval =
        wilson_mean_interval(std::clamp(out.mean, 0.0, 1.0), static_cast<std::int64_t>(n_clusters));
  }
  out.p_reaches = static_cast<double>(reached) / replicates;
  return out;
}

std::vector<double> effective_length_probability(std::span<const LengthScore> lengths) {
  std::vector<double> probability;
  probability.reserve(lengths.size());
  double all_reach = 1;  // prompts of different lengths are drawn apart: the chances multiply
  for (const LengthScore& length : lengths) {
    all_reach *= length.p_reaches;
    probability.push_back(all_reach);
  }
  return probability;
}

}  // namespace sala
