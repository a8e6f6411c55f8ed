// Inverts the distribution functions by bisection: exact to the last bits, and nobody waits for it.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/distributions.h"

#include <cmath>
#include <functional>
#include <limits>

#include "engine/base/error.h"

namespace sala {
namespace {

/// Where an increasing function crosses `target`.
double bisect(double low, double high, double target, const std::function<double(double)>& f) {
  for (;;) {
    const double middle = low + (high - low) / 2;
    if (middle <= low || middle >= high) return middle;
    (f(middle) < target ? low : high) = middle;
  }
}

/// The continued fraction of the incomplete beta function, by Lentz's method (DLMF 8.17.22).
double beta_fraction(double x, double a, double b) {
  constexpr int kMaxTerms = 10000;
  constexpr double kTiny = 1e-300;
  const auto away_from_zero = [](double v) { return std::fabs(v) < kTiny ? kTiny : v; };
  double c = 1;
  double d = 1 / away_from_zero(1 - (a + b) * x / (a + 1));
  double value = d;
  for (int i = 1; i < kMaxTerms; ++i) {
    const double m = i;
    for (const double term : {m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                              -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))}) {
      d = 1 / away_from_zero(1 + term * d);
      c = away_from_zero(1 + term / c);
      value *= d * c;
    }
    if (std::fabs(d * c - 1) < std::numeric_limits<double>::epsilon()) break;
  }
  return value;
}

/// Regularised incomplete beta function.
double beta_cdf(double x, double a, double b) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) +
                                a * std::log(x) + b * std::log1p(-x));
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(x, a, b) / a;
  return 1 - front * beta_fraction(1 - x, b, a) / b;
}

}  // namespace

double normal_quantile(double p) {
  SALA_CHECK(p > 0 && p < 1, "a quantile needs 0 < p < 1");
  if (p > 0.5) return -normal_quantile(1 - p);
  return bisect(-40, 0, p, [](double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; });
}

double student_t_cdf(double t, double degrees) {
  SALA_CHECK(degrees >= 1, "Student's t needs degrees >= 1");
  // P(|T| > t) = I(degrees / (degrees + t^2); degrees / 2, 1 / 2).
  const double above = beta_cdf(degrees / (degrees + t * t), degrees / 2, 0.5) / 2;
  return t < 0 ? above : 1 - above;
}

double student_t_quantile(double p, double degrees) {
  SALA_CHECK(p > 0 && p < 1 && degrees >= 1, "a t quantile needs 0 < p < 1 and degrees >= 1");
  if (p < 0.5) return -student_t_quantile(1 - p, degrees);
  return bisect(0, 1e9, p, [&](double t) { return student_t_cdf(t, degrees); });
}

double beta_quantile(double p, double a, double b) {
  SALA_CHECK(p >= 0 && p <= 1 && a > 0 && b > 0, "a beta quantile needs 0 <= p <= 1, shapes > 0");
  return bisect(0, 1, p, [&](double x) { return beta_cdf(x, a, b); });
}

}  // namespace sala
