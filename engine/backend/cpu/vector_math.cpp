// Vectorised by the compiler, once per instruction set; `omp simd` allows reordered sums.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/vector_math.h"

#include <cmath>
#include <cstring>
#include <limits>

// Resolvers of cloned functions run before a sanitizer is ready.
#if defined(__x86_64__) && !defined(SALA_SANITIZED)
#define SALA_SIMD_CLONES __attribute__((target_clones("avx512f", "arch=x86-64-v3", "default")))
#else
#define SALA_SIMD_CLONES
#endif
// Fused multiply-add halves the cost of the polynomials; tests bound the error either way.
#ifndef __clang__
#pragma GCC optimize("fp-contract=fast")
#endif

namespace sala {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// e^x for -87.33 <= x <= 88.72, and NaN for NaN: 2^n · e^r with |r| <= ln2 / 2 and Cephes'
/// polynomial of degree 7 for e^r.
inline __attribute__((always_inline)) float exp_inside(float x) {
  constexpr float kLog2e = 1.44269504F;
  constexpr float kRound = 12582912.0F;     // 1.5 · 2^23: adding it rounds to an integer
  constexpr float kLn2High = 0.693145752F;  // few enough bits that n · high is exact
  constexpr float kLn2Low = 1.42860677e-6F;
  const float shifted = x * kLog2e + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = (p * r) * r + r + 1.0F;
  const std::uint32_t exponent = __builtin_bit_cast(std::uint32_t, shifted) << 23;
  return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, p) + exponent);
}

inline __attribute__((always_inline)) float exp_one(float x) {
  float y = exp_inside(x);
  y = x < -87.33F ? 0.0F : y;
  y = x > 88.72F ? kInfinity : y;
  return x != x ? x : y;
}

/// e^x for x <= 0, never less than 1.2e-38.
inline __attribute__((always_inline)) float exp_negative(float x) {
  return exp_inside(x < -87.33F ? -87.33F : x);
}

/// sin and cos of an angle of any size that positions reach, in fp64 and then rounded once.
inline __attribute__((always_inline)) void sin_cos(double angle, float& sine, float& cosine) {
  constexpr double kRound = 6755399441055744.0;  // 1.5 · 2^52
  const double shifted = angle * 0.63661977236758134308 + kRound;
  const double n = shifted - kRound;
  const double r = ((angle - n * 1.57079632673412561417e+00) - n * 6.07710050630396597660e-11) -
                   n * 2.02226624879595063154e-21;
  const double z = r * r;
  double s = 1.0 / 6227020800.0;
  s = s * z - 1.0 / 39916800.0;
  s = s * z + 1.0 / 362880.0;
  s = s * z - 1.0 / 5040.0;
  s = s * z + 1.0 / 120.0;
  s = s * z - 1.0 / 6.0;
  s = s * z * r + r;
  double c = -1.0 / 87178291200.0;
  c = c * z + 1.0 / 479001600.0;
  c = c * z - 1.0 / 3628800.0;
  c = c * z + 1.0 / 40320.0;
  c = c * z - 1.0 / 720.0;
  c = c * z + 1.0 / 24.0;
  c = (c * z - 0.5) * z + 1.0;
  const std::uint64_t quadrant = __builtin_bit_cast(std::uint64_t, shifted);
  const bool swapped = (quadrant & 1U) != 0;
  const double a = swapped ? c : s;
  const double b = swapped ? s : c;
  sine = static_cast<float>((quadrant & 2U) != 0 ? -a : a);
  cosine = static_cast<float>(((quadrant + 1U) & 2U) != 0 ? -b : b);
}

}  // namespace

SALA_SIMD_CLONES void vector_exp(const float* x, float* y, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) y[i] = exp_one(x[i]);
}

SALA_SIMD_CLONES void rms_norm_rows(const float* x, const float* weight, float eps,
                                    std::int64_t n_rows, std::int64_t n, float* out) {
  for (std::int64_t r = 0; r < n_rows; ++r, x += n, out += n) {
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (std::int64_t i = 0; i < n; ++i) squares += x[i] * x[i];
    const float factor = 1.0F / std::sqrt(squares / static_cast<float>(n) + eps);
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) out[i] = x[i] * factor * weight[i];
  }
}

SALA_SIMD_CLONES void add_scaled_row(const float* x, float scale, float* out, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) out[i] += scale * x[i];
}

SALA_SIMD_CLONES void scale_row(const float* x, float scale, float* out, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) out[i] = x[i] * scale;
}

SALA_SIMD_CLONES void silu_mul_row(const float* gate, const float* up, float* out, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) out[i] = gate[i] / (1.0F + exp_one(-gate[i])) * up[i];
}

SALA_SIMD_CLONES void sigmoid_mul_row(const float* gate, float* out, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) out[i] = out[i] / (1.0F + exp_one(-gate[i]));
}

SALA_SIMD_CLONES void rotate_row(float* x, std::int64_t n_heads, std::int64_t half,
                                 const PairAngles& angles, std::int64_t position, float* table) {
  float* cosine = table;
  float* sine = table + half;
  const double* inv_freq = angles.inv_freq;
  const double* slowdown = angles.slowdown;
  const float magnitude = angles.magnitude;
  if (angles.exact) {
    const auto t = static_cast<double>(position);
#pragma omp simd
    for (std::int64_t i = 0; i < half; ++i) {
      sin_cos(t / slowdown[i] * inv_freq[i], sine[i], cosine[i]);
    }
  } else {
    const auto t = static_cast<float>(position);
#pragma omp simd
    for (std::int64_t i = 0; i < half; ++i) {
      const float slowed = t * (1.0F / static_cast<float>(slowdown[i]));
      sin_cos(static_cast<double>(slowed * static_cast<float>(inv_freq[i])), sine[i], cosine[i]);
    }
  }
#pragma omp simd
  for (std::int64_t i = 0; i < 2 * half; ++i) table[i] *= magnitude;
  for (std::int64_t h = 0; h < n_heads; ++h, x += 2 * half) {
#pragma omp simd
    for (std::int64_t i = 0; i < half; ++i) {
      const float a = x[i];
      const float b = x[i + half];
      x[i] = a * cosine[i] - b * sine[i];
      x[i + half] = b * cosine[i] + a * sine[i];
    }
  }
}

void transpose(const float* from, std::int64_t from_stride, std::int64_t n_rows,
               std::int64_t n_cols, float* to, std::int64_t to_stride) {
  constexpr std::int64_t kTile = 16;  // one cache line of output at a time
  for (std::int64_t r0 = 0; r0 < n_rows; r0 += kTile) {
    const std::int64_t r1 = r0 + kTile < n_rows ? r0 + kTile : n_rows;
    for (std::int64_t c = 0; c < n_cols; ++c) {
      for (std::int64_t r = r0; r < r1; ++r) to[c * to_stride + r] = from[r * from_stride + c];
    }
  }
}

SALA_SIMD_CLONES void softmax_step(float* scores, std::int64_t stride, std::int64_t n_rows,
                                   std::int64_t width, const std::int32_t* visible,
                                   std::int64_t group, const SoftmaxRows& rows) {
  // Two passes, so that no exponential waits for the maximum of its own row.
  for (std::int64_t i = 0; i < n_rows; ++i) {
    const float* row = scores + i * stride;
    const std::int64_t n = visible[i / group];
    float largest = rows.max[i];
#pragma omp simd reduction(max : largest)
    for (std::int64_t j = 0; j < n; ++j) largest = row[j] > largest ? row[j] : largest;
    if (largest > rows.max[i]) {
      const float correction = exp_negative(rows.max[i] - largest);
      rows.max[i] = largest;
      rows.sum[i] *= correction;
      if (rows.out == nullptr) continue;
      float* out = rows.out + i * rows.head_dim;
#pragma omp simd
      for (std::int64_t c = 0; c < rows.head_dim; ++c) out[c] *= correction;
    }
  }
  for (std::int64_t i = 0; i < n_rows; ++i) {
    float* row = scores + i * stride;
    const std::int64_t n = visible[i / group];
    const float largest = rows.max[i];
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t j = 0; j < n; ++j) {
      row[j] = exp_negative(row[j] - largest);
      sum += row[j];
    }
    rows.sum[i] += sum;
    if (n < width) std::memset(row + n, 0, static_cast<std::size_t>(width - n) * sizeof(float));
  }
}

SALA_SIMD_CLONES void add_head_weights(const float* scores, std::int64_t stride,
                                       std::int64_t n_heads, std::int64_t width, const float* max,
                                       const float* factor, float* total) {
  std::memset(total, 0, static_cast<std::size_t>(width) * sizeof(float));
  for (std::int64_t h = 0; h < n_heads; ++h, scores += stride) {
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) total[j] += exp_one(scores[j] - max[h]) * factor[h];
  }
}

SALA_SIMD_CLONES void decay_lower_triangle(float* scores, std::int64_t stride, std::int64_t n,
                                           const float* reversed_power) {
  for (std::int64_t i = 0; i < n; ++i, scores += stride) {
    const float* power = reversed_power + (n - 1 - i);
#pragma omp simd
    for (std::int64_t j = 0; j <= i; ++j) scores[j] *= power[j];
    std::memset(scores + i + 1, 0, static_cast<std::size_t>(n - 1 - i) * sizeof(float));
  }
}

SALA_SIMD_CLONES void linear_step(const float* q, const float* k, const float* v, float decay,
                                  float scale, std::int64_t k_dim, std::int64_t v_dim, float* state,
                                  float* out) {
  constexpr std::int64_t kWidth = 64;  // columns kept in registers while the rows stream by
  float sums[kWidth];
  for (std::int64_t c0 = 0; c0 < v_dim; c0 += kWidth) {
    const std::int64_t n = c0 + kWidth < v_dim ? kWidth : v_dim - c0;
    for (std::int64_t c = 0; c < n; ++c) sums[c] = 0;
    for (std::int64_t r = 0; r < k_dim; ++r) {
      float* row = state + r * v_dim + c0;
#pragma omp simd
      for (std::int64_t c = 0; c < n; ++c) {
        row[c] = decay * row[c] + k[r] * v[c0 + c];
        sums[c] += scale * q[r] * row[c];
      }
    }
    for (std::int64_t c = 0; c < n; ++c) out[c0 + c] = sums[c];
  }
}

}  // namespace sala
