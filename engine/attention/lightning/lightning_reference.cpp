// Linear attention in fp64, by the recurrence, and the decay rates.
// SPDX-License-Identifier: Apache-2.0
#include <bit>

#include "engine/attention/lightning/lightning.h"

namespace sala {

std::vector<double> lightning_slopes(std::int64_t n_heads) {
  const auto power = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(n_heads)));
  std::vector<double> slopes;
  slopes.reserve(static_cast<std::size_t>(n_heads));
  for (std::int64_t h = 0; h < power; ++h) {
    slopes.push_back(std::exp2(-8.0 * static_cast<double>(h + 1) / static_cast<double>(power)));
  }
  for (std::int64_t i = 0; i < n_heads - power; ++i) {
    slopes.push_back(
        std::exp2(-8.0 * static_cast<double>(2 * i + 1) / static_cast<double>(2 * power)));
  }
  return slopes;
}

std::vector<double> lightning_reference(const LayerSpec& spec, const ReferenceWeights& weights,
                                        const std::vector<double>& x) {
  const LightningConfig config = LightningConfig::read(spec);
  const HeadOptions& heads = config.heads;
  const std::int64_t d = heads.head_dim;
  const std::int64_t n_tokens = static_cast<std::int64_t>(x.size()) / spec.hidden;
  const ReferenceHeads qkv = reference_heads(heads, spec, weights, x);
  const std::vector<double> slopes = lightning_slopes(heads.n_heads);

  std::vector<double> mixed(static_cast<std::size_t>(n_tokens * heads.q_dim()));
  for (std::int64_t h = 0; h < heads.n_heads; ++h) {
    const double decay = std::exp(-item(slopes, h));
    std::vector<double> state(static_cast<std::size_t>(d * d));
    for (std::int64_t t = 0; t < n_tokens; ++t) {
      const std::int64_t query = (t * heads.n_heads + h) * d;
      const std::int64_t key = (t * heads.n_kv_heads + h / heads.group()) * d;
      for (std::int64_t i = 0; i < d; ++i) {
        for (std::int64_t c = 0; c < d; ++c) {
          double& s = item(state, i * d + c);
          s = decay * s + item(qkv.k, key + i) * item(qkv.v, key + c);
          item(mixed, query + c) += static_cast<double>(heads.scale) * item(qkv.q, query + i) * s;
        }
      }
    }
  }
  if (config.output_norm) {
    reference_rms_norm(mixed, weights(spec.prefix + "o_norm.weight", 1, heads.q_dim()),
                       heads.rms_norm_eps);
  }
  if (heads.output_gate) {
    reference_gate(mixed, reference_product(
                              x, weights(spec.prefix + "z_proj.weight", heads.q_dim(), spec.hidden),
                              spec.hidden));
  }
  return reference_product(
      mixed, weights(spec.prefix + "o_proj.weight", spec.hidden, heads.q_dim()), heads.q_dim());
}

}  // namespace sala
