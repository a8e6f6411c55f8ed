// How far two models of the same weights are apart: logits at the same positions, greedy answers.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "engine/engine.h"

namespace sala {

/// Over positions of one text; divergences in nats.
struct LogitDistance {
  std::int64_t n_positions = 0;
  double kld_mean = 0;
  double kld_p99 = 0;
  double kld_max = 0;
  double top1_agree = 0;  // share of positions where both put the same token first
};

/// Kullback-Leibler divergence of `other` from `base`, sum of p_base (ln p_base - ln p_other) in
/// double precision. Both: (positions, vocab) row-major, one position or more. Throws Error where
/// a logit is not finite.
LogitDistance logit_distance(std::span<const float> base, std::span<const float> other,
                             std::int64_t vocab);

/// How much likelier the best token is than the second, in nats; two logits or more.
double top2_gap(std::span<const float> logits);

/// First position of the outputs where two greedy answers differ, or one ends; nothing when they
/// are the same.
std::optional<std::int64_t> first_difference(const Output& base, const Output& other);

/// What a difference means, by the gap between the base's two best tokens where it begins:
/// identical (no gap given), near_tie (up to 0.125 nats), hard (from 0.5) or between.
const char* divergence_class(std::optional<double> gap);

}  // namespace sala
