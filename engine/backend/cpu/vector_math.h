// Loops over rows of floats, compiled for several instruction sets and chosen at run time.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace sala {

/// y[i] = e^x[i] within 2 ulp; 0 below -87.3, infinity above 88.7, NaN stays NaN. y may alias x.
void vector_exp(const float* x, float* y, std::int64_t n);

/// out = x * weight / sqrt(mean(x²) + eps) for n_rows rows of n; out may alias x.
void rms_norm_rows(const float* x, const float* weight, float eps, std::int64_t n_rows,
                   std::int64_t n, float* out);
/// out = out + scale * x.
void add_scaled_row(const float* x, float scale, float* out, std::int64_t n);
/// out = x * scale; out may alias x.
void scale_row(const float* x, float scale, float* out, std::int64_t n);
/// out = silu(gate) * up; out may alias either.
void silu_mul_row(const float* gate, const float* up, float* out, std::int64_t n);
/// out = out * sigmoid(gate).
void sigmoid_mul_row(const float* gate, float* out, std::int64_t n);

/// How the pairs (i, i + half) of a head turn: at position t by t / slowdown[i] * inv_freq[i].
struct PairAngles {
  const double* inv_freq;  // (half)
  const double* slowdown;  // (half)
  float magnitude;         // factor of every cosine and sine
  bool exact;              // angles in fp64; otherwise in fp32, step by step as PyTorch models do
};

/// Rotates n_heads contiguous heads of 2 * half elements. table: scratch of 2 * half floats.
void rotate_row(float* x, std::int64_t n_heads, std::int64_t half, const PairAngles& angles,
                std::int64_t position, float* table);

/// to (n_cols, to_stride)[c][r] = from (n_rows, from_stride)[r][c].
void transpose(const float* from, std::int64_t from_stride, std::int64_t n_rows,
               std::int64_t n_cols, float* to, std::int64_t to_stride);

/// Running softmax of a tile of query rows over key tiles (online softmax).
struct SoftmaxRows {
  float* max;             // (n_rows), -infinity before the first tile
  float* sum;             // (n_rows), 0 before
  float* out;             // (n_rows, head_dim), 0 before; null: only max and sum are kept
  std::int64_t head_dim;  // of out
};

/// Takes in the scores (n_rows, stride) of `width` keys: turns them into e^(score - max), zero from
/// the row's visible count on, and scales what was summed before. Row i sees visible[i / group].
void softmax_step(float* scores, std::int64_t stride, std::int64_t n_rows, std::int64_t width,
                  const std::int32_t* visible, std::int64_t group, const SoftmaxRows& rows);

/// total[j] = Σ_h e^(scores[h][j] - max[h]) * factor[h] over n_heads rows of scores.
void add_head_weights(const float* scores, std::int64_t stride, std::int64_t n_heads,
                      std::int64_t width, const float* max, const float* factor, float* total);

/// scores[i][j] *= power[i - j] for j <= i and 0 beyond; reversed_power[n - 1 - d] = power[d].
void decay_lower_triangle(float* scores, std::int64_t stride, std::int64_t n,
                          const float* reversed_power);

/// One step of linear attention: state = decay * state + kᵀ v, out = (scale * q) · state.
/// state (k_dim, v_dim); q, k (k_dim); v, out (v_dim); out must not alias the inputs.
void linear_step(const float* q, const float* k, const float* v, float decay, float scale,
                 std::int64_t k_dim, std::int64_t v_dim, float* state, float* out);

}  // namespace sala
