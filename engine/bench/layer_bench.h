// Layers that benchmarks run: their shape, one sequence, and the check that comes before timing.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "engine/attention/attention.h"
#include "engine/bench/measured.h"

namespace sala {

/// A layer with random weights and the one sequence it works on.
class BenchLayer {
 public:
  /// kind: dense, infllm_v2 or lightning in the shape of the needle models: hidden 192, 16 query
  /// heads of 64 dimensions, one KV head (16 in linear layers).
  BenchLayer(const std::string& kind, std::int64_t max_chunk, std::int64_t max_tokens,
             Backend& backend);

  /// Continues the sequence by n_tokens in one call and returns what that took.
  Work forward(std::int64_t n_tokens);
  void restart() { state_->clear(); }

 private:
  double state_bytes_read() const;

  Backend& backend_;
  std::int64_t weight_bytes_;
  std::unique_ptr<AttentionLayer> layer_;
  std::unique_ptr<LayerState> state_;
  Workspace scratch_;
  Tensor x_;
  Tensor out_;
  Trace trace_;
  RouteLog route_;
};

/// Compares every kind and the matrix product with fp64 references at small sizes. Throws Error
/// naming what is wrong.
void check_kernels(Backend& backend);

}  // namespace sala
