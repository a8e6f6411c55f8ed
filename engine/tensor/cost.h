// The cost of operations on whole matrices.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>

#include "engine/base/cost.h"
#include "engine/tensor/tensor.h"

namespace sala {

/// Every matrix read or written once; give one that is both twice.
inline Cost pass_cost(std::initializer_list<TensorView> matrices) {
  Cost cost;
  for (const TensorView& matrix : matrices) cost.bytes += static_cast<double>(matrix.bytes());
  return cost;
}

/// x · weightᵀ with `out` columns: x, the weight in its dtype, and the result.
inline Cost product_cost(TensorView x, TensorView weight, TensorView out) {
  Cost cost = pass_cost({x, weight, out});
  cost.flops = 2.0 * static_cast<double>(x.rows) * static_cast<double>(weight.size());
  return cost;
}

inline Cost operator+(Cost a, Cost b) {
  return {a.flops + b.flops, a.bytes + b.bytes};
}

}  // namespace sala
