// The decision for one number of a gate: is the candidate worse, and is that beyond tolerance?
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/decision.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "engine/base/error.h"
#include "harness/compare/distributions.h"
#include "harness/compare/estimate.h"

namespace sala {
namespace {

constexpr double kLeastChange = 0.01;  // smaller ones are never called real

/// What one block of pairs says. Effects are ln(candidate / baseline).
struct Block {
  std::size_t n = 0;
  double effect = 0;
  double standard_error = 0;
  double low = 0;
  double high = 0;
  double noise = 0;  // effects up to this are never called real
  double p = 1;
  bool is_worse = false;
};

Block examine(std::span<const ValuePair> pairs, const SpeedRule& rule, double level) {
  const std::vector<double> effects = log_ratios({pairs.begin(), pairs.end()});
  Block block{.n = effects.size(), .effect = mean(effects)};
  const auto n = static_cast<double>(block.n);
  const bool from_floor = rule.floor && (rule.pooled || block.n == 1);
  SALA_CHECK(from_floor || block.n > 1, "one pair says nothing without a noise floor");
  const double sd = from_floor ? rule.floor->sd : sample_deviation(effects);
  const double degrees = from_floor ? static_cast<double>(rule.floor->n_pairs - 1) : n - 1;
  block.standard_error = sd / std::sqrt(n);
  const double half = student_t_quantile(1 - level, degrees) * block.standard_error;
  block.low = block.effect - half;
  block.high = block.effect + half;
  const double sigma = rule.floor ? rule.floor->sd : sd;
  block.noise = std::log1p(std::max(kLeastChange, 2 * sigma / std::sqrt(n)));
  if (block.standard_error > 0) {
    block.p = 1 - student_t_cdf(block.effect / block.standard_error, degrees);
  } else {
    block.p = block.effect > 0 ? 0 : 1;
  }
  double absolute = 0;
  for (const ValuePair& pair : pairs) absolute += (pair.candidate - pair.baseline) / n;
  block.is_worse = block.low > 0 && block.effect > block.noise && absolute > rule.absolute;
  return block;
}

/// Effects that would still be tolerated.
double tolerated(const Block& block, const SpeedRule& rule) {
  return std::max(block.noise, std::log1p(rule.tolerance));
}

Decision describe(const Block& block, ItemVerdict verdict, std::string reason) {
  return {.verdict = verdict,
          .reason = std::move(reason),
          .n = static_cast<std::int64_t>(block.n),
          .change = std::expm1(block.effect),
          .interval = Interval{std::expm1(block.low), std::expm1(block.high)},
          .p = block.p,
          .detectable = std::expm1(std::max(block.noise, (kZ950 + kZ800) * block.standard_error))};
}

/// Combines the p values of two independent blocks after Fisher.
double fisher_combined(double first, double second) {
  const double product = std::max(first * second, 1e-300);
  return product * (1 - std::log(product));
}

Decision worse(const Block& block, double effect, double p, const SpeedRule& rule,
               std::string reason) {
  Decision decision = describe(block, ItemVerdict::worse, std::move(reason));
  decision.change = std::expm1(effect);
  decision.p = p;
  decision.beyond_tolerance = decision.change > rule.tolerance;
  return decision;
}

std::vector<ValuePair> joined(const PairBlocks& blocks, std::size_t look) {
  const auto count = static_cast<std::ptrdiff_t>(look);
  std::vector<ValuePair> all(blocks.first.begin(), blocks.first.begin() + count);
  all.insert(all.end(), blocks.confirmation.begin(), blocks.confirmation.begin() + count);
  return all;
}

/// The first block said worse at this look; the second has as many pairs.
Decision confirm(const Block& first, const PairBlocks& blocks, std::size_t look,
                 const SpeedRule& rule) {
  const Block second = examine(std::span(blocks.confirmation).first(look), rule, rule.alpha);
  const Block both = examine(joined(blocks, look), rule, rule.alpha);
  if (second.is_worse) {
    return worse(both, (first.effect + second.effect) / 2, fisher_combined(first.p, second.p), rule,
                 "confirmed by a second block");
  }
  if (both.high < tolerated(both, rule)) {
    return describe(both, ItemVerdict::same, "a second block did not confirm a slowdown");
  }
  return describe(both, ItemVerdict::ambiguous, "a second block did not confirm a slowdown");
}

}  // namespace

const char* verdict_name(ItemVerdict verdict) {
  switch (verdict) {
    case ItemVerdict::same:
      return "same";
    case ItemVerdict::better:
      return "better";
    case ItemVerdict::worse:
      return "worse";
    case ItemVerdict::ambiguous:
      return "ambiguous";
    case ItemVerdict::missing:
      return "missing";
    case ItemVerdict::invalid:
      return "invalid";
  }
  return "missing";
}

std::vector<double> log_ratios(const std::vector<ValuePair>& pairs) {
  std::vector<double> ratios;
  ratios.reserve(pairs.size());
  for (const ValuePair& pair : pairs) ratios.push_back(std::log(pair.candidate / pair.baseline));
  return ratios;
}

SpeedProgress decide_speed(const PairBlocks& blocks, const SpeedRule& rule) {
  const double level = rule.confirmable ? rule.alpha : rule.alpha * rule.alpha;
  Block block;
  for (const int pairs : rule.looks) {
    const auto look = static_cast<std::size_t>(pairs);
    if (blocks.first.size() < look) return {.decision = std::nullopt, .first = look};
    if (look == 1 && !rule.floor) {
      const ValuePair& only = blocks.first.front();
      return {.decision = Decision{.verdict = ItemVerdict::ambiguous,
                                   .reason = "one process a side and no noise floor say nothing",
                                   .n = 1,
                                   .change = only.candidate / only.baseline - 1}};
    }
    block = examine(std::span(blocks.first).first(look), rule, level);
    if (block.is_worse && !rule.floor) {
      return {.decision = describe(block, ItemVerdict::ambiguous,
                                   "looks slower, but no noise floor has been measured")};
    }
    if (block.is_worse && !rule.confirmable) {
      return {.decision = worse(block, block.effect, block.p, rule, "beyond the noise floor")};
    }
    if (block.is_worse) {
      if (blocks.confirmation.size() < look) {
        return {.decision = std::nullopt, .first = look, .confirmation = look};
      }
      return {.decision = confirm(block, blocks, look, rule)};
    }
    if (block.high < tolerated(block, rule)) {
      const bool faster = block.high < 0 && block.effect < -block.noise;
      return {.decision = describe(block, faster ? ItemVerdict::better : ItemVerdict::same, "")};
    }
  }
  return {.decision = describe(block, ItemVerdict::ambiguous, "undecided after the last look")};
}

Decision decide_memory(const ValuePair& bytes, double relative, double absolute) {
  const double limit = std::max(relative * bytes.baseline, absolute);
  const double growth = bytes.candidate - bytes.baseline;
  Decision decision{.verdict = ItemVerdict::same, .n = 1};
  decision.change = bytes.baseline > 0 ? growth / bytes.baseline : 0;
  if (growth > limit) decision.verdict = ItemVerdict::worse;
  if (growth < -limit) decision.verdict = ItemVerdict::better;
  decision.beyond_tolerance = growth > limit;
  return decision;
}

Decision decide_accuracy(const ClusteredScores& baseline, const std::vector<double>& candidate,
                         bool identical, double max_drop, double alpha) {
  const PairedDifference paired =
      compare_paired(baseline.scores, candidate, baseline.clusters, alpha);
  Decision decision{.verdict = ItemVerdict::ambiguous,
                    .n = paired.n,
                    .change = paired.difference,
                    .interval = paired.interval,
                    .p = paired.p_drop,
                    .detectable = paired.detectable(),
                    .beyond_tolerance = paired.difference > max_drop};
  if (paired.p_drop < alpha && paired.difference > 0) {
    decision.verdict = ItemVerdict::worse;
    decision.reason = fmt::format("{} prompts lost, {} won", paired.only_first, paired.only_second);
  } else if (identical) {
    decision.verdict = ItemVerdict::same;
    decision.reason = "every answer is the same text";
  } else if (paired.interval.high < max_drop) {
    decision.verdict = ItemVerdict::same;
    decision.reason = fmt::format("{} prompts lost, {} won", paired.only_first, paired.only_second);
  } else {
    decision.reason =
        fmt::format("{} prompts lost, {} won; a drop of {:.1f} points needs about {} prompts",
                    paired.only_first, paired.only_second, 100 * max_drop,
                    samples_for_difference(
                        max_drop, std::max(paired.discordance, 1 / static_cast<double>(paired.n))));
  }
  return decision;
}

}  // namespace sala
