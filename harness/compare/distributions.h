// Quantiles of the distributions behind intervals.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace sala {

/// The normal distribution's quantiles at 97.5 %, 95 % and 80 %.
inline constexpr double kZ975 = 1.959963984540054;
inline constexpr double kZ950 = 1.6448536269514722;
inline constexpr double kZ800 = 0.8416212335729143;

/// p in (0, 1).
double normal_quantile(double p);

/// Student's t with `degrees` >= 1 degrees of freedom; p in (0, 1).
double student_t_quantile(double p, double degrees);

/// P(T <= t) of the same distribution.
double student_t_cdf(double t, double degrees);

/// Beta distribution with shapes a, b > 0; p in [0, 1].
double beta_quantile(double p, double a, double b);

}  // namespace sala
