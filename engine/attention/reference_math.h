// Plain fp64 building blocks for the references of the kinds. For tests; speed does not matter.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/attention/options.h"

namespace sala {

/// Values of the (rows, cols) weight of that name.
using ReferenceWeights = std::function<std::vector<double>(const std::string& name,
                                                           std::int64_t rows, std::int64_t cols)>;

/// Element i of a vector that is seen as a matrix.
inline double& item(std::vector<double>& x, std::int64_t i) {
  return x[static_cast<std::size_t>(i)];
}
inline double item(const std::vector<double>& x, std::int64_t i) {
  return x[static_cast<std::size_t>(i)];
}

/// x (n, in) · weightᵀ, weight (out, in).
inline std::vector<double> reference_product(const std::vector<double>& x,
                                             const std::vector<double>& weight, std::int64_t in) {
  const std::int64_t n = static_cast<std::int64_t>(x.size()) / in;
  const std::int64_t out = static_cast<std::int64_t>(weight.size()) / in;
  std::vector<double> y(static_cast<std::size_t>(n * out));
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t o = 0; o < out; ++o) {
      for (std::int64_t c = 0; c < in; ++c) {
        item(y, i * out + o) += item(x, i * in + c) * item(weight, o * in + c);
      }
    }
  }
  return y;
}

/// RMS norm of every row of weight.size() elements.
inline void reference_rms_norm(std::vector<double>& x, const std::vector<double>& weight,
                               double eps) {
  const auto n = static_cast<std::int64_t>(weight.size());
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(x.size()); i += n) {
    double squares = 0;
    for (std::int64_t c = 0; c < n; ++c) squares += item(x, i + c) * item(x, i + c);
    const double factor = 1.0 / std::sqrt(squares / static_cast<double>(n) + eps);
    for (std::int64_t c = 0; c < n; ++c) item(x, i + c) *= factor * item(weight, c);
  }
}

/// Rotates x (n_tokens, n_heads, head_dim) at positions 0, 1, ...
inline void reference_rotary(std::vector<double>& x, std::int64_t n_heads, const Rotary& rotary) {
  const std::int64_t d = rotary.head_dim;
  const std::int64_t n_rows = static_cast<std::int64_t>(x.size()) / d;
  for (std::int64_t row = 0; row < n_rows; ++row) {
    const std::int64_t position = row / n_heads;
    for (std::int64_t i = 0; i < d / 2; ++i) {
      const double inv_freq = rotary.frequency(i);
      const double slowdown =
          rotary.slowdown.empty() ? 1.0 : rotary.slowdown[static_cast<std::size_t>(i)];
      const float slowed = static_cast<float>(position) * (1.0F / static_cast<float>(slowdown));
      const float rounded = slowed * static_cast<float>(inv_freq);
      const double angle = rotary.exact_angle ? static_cast<double>(position) / slowdown * inv_freq
                                              : static_cast<double>(rounded);
      const double cosine = std::cos(angle) * static_cast<double>(rotary.magnitude);
      const double sine = std::sin(angle) * static_cast<double>(rotary.magnitude);
      double& a = item(x, row * d + i);
      double& b = item(x, row * d + i + d / 2);
      const double first = a * cosine - b * sine;
      b = b * cosine + a * sine;
      a = first;
    }
  }
}

/// out *= sigmoid(gate).
inline void reference_gate(std::vector<double>& out, const std::vector<double>& gate) {
  for (std::size_t i = 0; i < out.size(); ++i) out[i] /= 1.0 + std::exp(-gate[i]);
}

/// q, k, v of x (n_tokens, hidden) after projection, norms and rotation.
struct ReferenceHeads {
  std::vector<double> q;  // (n_tokens, n_heads, head_dim)
  std::vector<double> k;  // (n_tokens, n_kv_heads, head_dim)
  std::vector<double> v;
};

inline ReferenceHeads reference_heads(const HeadOptions& heads, const LayerSpec& spec,
                                      const ReferenceWeights& weights,
                                      const std::vector<double>& x) {
  const auto project = [&](const char* name, std::int64_t out) {
    return reference_product(x, weights(spec.prefix + name, out, spec.hidden), spec.hidden);
  };
  ReferenceHeads result{project("q_proj.weight", heads.q_dim()),
                        project("k_proj.weight", heads.kv_dim()),
                        project("v_proj.weight", heads.kv_dim())};
  if (heads.qk_norm) {
    const double eps = heads.rms_norm_eps;
    reference_rms_norm(result.q, weights(spec.prefix + "q_norm.weight", 1, heads.head_dim), eps);
    reference_rms_norm(result.k, weights(spec.prefix + "k_norm.weight", 1, heads.head_dim), eps);
  }
  if (heads.rope) {
    reference_rotary(result.q, heads.n_heads, heads.rotary());
    reference_rotary(result.k, heads.n_kv_heads, heads.rotary());
  }
  return result;
}

/// Softmax attention of row t and query head h over the listed keys; out (head_dim).
inline void reference_softmax_row(const HeadOptions& heads, const ReferenceHeads& x, std::int64_t t,
                                  std::int64_t h, const std::vector<std::int64_t>& keys,
                                  double* out) {
  const std::int64_t d = heads.head_dim;
  const std::int64_t g = h / heads.group();
  std::vector<double> weight(keys.size());
  double largest = -INFINITY;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    for (std::int64_t c = 0; c < d; ++c) {
      weight[i] += item(x.q, (t * heads.n_heads + h) * d + c) *
                   item(x.k, (keys[i] * heads.n_kv_heads + g) * d + c);
    }
    weight[i] *= static_cast<double>(heads.scale);
    largest = std::max(largest, weight[i]);
  }
  double sum = 0;
  for (double& w : weight) sum += (w = std::exp(w - largest));
  for (std::int64_t c = 0; c < d; ++c) {
    out[c] = 0;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      out[c] += weight[i] / sum * item(x.v, (keys[i] * heads.n_kv_heads + g) * d + c);
    }
  }
}

/// The optional gate, then o_proj.
inline std::vector<double> reference_softmax_output(const HeadOptions& heads, const LayerSpec& spec,
                                                    const ReferenceWeights& weights,
                                                    const std::vector<double>& x,
                                                    std::vector<double> attended) {
  if (heads.output_gate) {
    reference_gate(
        attended,
        reference_product(x, weights(spec.prefix + "o_gate.weight", heads.q_dim(), spec.hidden),
                          spec.hidden));
  }
  return reference_product(
      attended, weights(spec.prefix + "o_proj.weight", spec.hidden, heads.q_dim()), heads.q_dim());
}

}  // namespace sala
