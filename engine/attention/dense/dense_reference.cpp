// Full causal softmax attention in fp64, as written.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/dense/dense.h"

namespace sala {

std::vector<double> dense_reference(const LayerSpec& spec, const ReferenceWeights& weights,
                                    const std::vector<double>& x) {
  const HeadOptions heads = DenseConfig::read(spec).heads;
  const ReferenceHeads qkv = reference_heads(heads, spec, weights, x);
  const std::int64_t n_tokens = static_cast<std::int64_t>(x.size()) / spec.hidden;

  std::vector<double> attended(static_cast<std::size_t>(n_tokens * heads.q_dim()));
  std::vector<std::int64_t> keys;
  for (std::int64_t t = 0; t < n_tokens; ++t) {
    keys.push_back(t);
    for (std::int64_t h = 0; h < heads.n_heads; ++h) {
      reference_softmax_row(heads, qkv, t, h, keys,
                            &item(attended, (t * heads.n_heads + h) * heads.head_dim));
    }
  }
  return reference_softmax_output(heads, spec, weights, x, std::move(attended));
}

}  // namespace sala
