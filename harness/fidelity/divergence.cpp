// Sums run over a whole vocabulary, so they are kept in double precision.
// SPDX-License-Identifier: Apache-2.0
#include "harness/fidelity/divergence.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/base/error.h"
#include "harness/compare/statistics.h"

namespace sala {
namespace {

constexpr double kNearTie = 0.125;  // nats
constexpr double kHard = 0.5;

/// ln of the sum of exp(logit).
double log_normaliser(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(sum);
}

double divergence(std::span<const float> base, std::span<const float> other) {
  const double base_norm = log_normaliser(base);
  const double other_norm = log_normaliser(other);
  double sum = 0;
  for (std::size_t i = 0; i < base.size(); ++i) {
    const double log_base = static_cast<double>(base[i]) - base_norm;
    const double log_other = static_cast<double>(other[i]) - other_norm;
    sum += std::exp(log_base) * (log_base - log_other);
  }
  return std::max(sum, 0.0);  // rounding may leave a little less than nothing
}

bool is_finite(std::span<const float> logits) {
  return std::all_of(logits.begin(), logits.end(), [](float x) { return std::isfinite(x); });
}

}  // namespace

LogitDistance logit_distance(std::span<const float> base, std::span<const float> other,
                             std::int64_t vocab) {
  const auto width = static_cast<std::size_t>(vocab);
  SALA_CHECK(width > 0 && !base.empty() && base.size() == other.size() && base.size() % width == 0,
             "both hold whole rows of logits");
  if (!is_finite(base) || !is_finite(other)) {
    throw Error("logits", "hold a number that is not finite; the model cannot be compared");
  }
  std::vector<double> divergences;
  std::int64_t n_agree = 0;
  for (std::size_t begin = 0; begin < base.size(); begin += width) {
    const auto p = base.subspan(begin, width);
    const auto q = other.subspan(begin, width);
    divergences.push_back(divergence(p, q));
    n_agree += std::max_element(p.begin(), p.end()) - p.begin() ==
                       std::max_element(q.begin(), q.end()) - q.begin()
                   ? 1
                   : 0;
  }
  const auto n = static_cast<std::int64_t>(divergences.size());
  LogitDistance distance{.n_positions = n,
                         .kld_mean = mean(divergences),
                         .top1_agree = static_cast<double>(n_agree) / static_cast<double>(n)};
  std::sort(divergences.begin(), divergences.end());
  distance.kld_p99 = quantile(divergences, 0.99);
  distance.kld_max = divergences.back();
  return distance;
}

double top2_gap(std::span<const float> logits) {
  SALA_CHECK(logits.size() >= 2, "there is a second token");
  double best = std::max(logits[0], logits[1]);
  double second = std::min(logits[0], logits[1]);
  for (const float logit : logits.subspan(2)) {
    second = std::max(second, std::min<double>(best, logit));
    best = std::max<double>(best, logit);
  }
  return best - second;
}

std::optional<std::int64_t> first_difference(const Output& base, const Output& other) {
  const auto [a, b] = std::mismatch(base.tokens.begin(), base.tokens.end(), other.tokens.begin(),
                                    other.tokens.end());
  if (a == base.tokens.end() && b == other.tokens.end()) return std::nullopt;
  return a - base.tokens.begin();
}

const char* divergence_class(std::optional<double> gap) {
  if (!gap) return "identical";
  if (*gap <= kNearTie) return "near_tie";
  return *gap >= kHard ? "hard" : "between";
}

}  // namespace sala
