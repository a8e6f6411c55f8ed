// What a model needs before anything is allocated, and whether it fits.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/base/memory_ledger.h"
#include "engine/model/model.h"
#include "engine/model/weights.h"

namespace sala {

/// A sequence of n_tokens gets room for this many: requests of nearly equal length share one state.
std::int64_t sequence_capacity(std::int64_t n_tokens);

/// A model without weights, made from its config alone: it plans but cannot run. Made before
/// anything is loaded: what the backend holds by then is its own and part of every plan.
class Blueprint {
 public:
  Blueprint(const ModelConfig& config, Backend& backend);

  /// Bytes by category of one sequence of n_tokens, weights included and first. logit_rows: rows
  /// of logits computed at a time.
  std::vector<CategoryBytes> plan(std::int64_t n_tokens, std::int64_t chunk,
                                  std::int64_t logit_rows) const;
  std::int64_t n_parameters() const { return n_parameters_; }
  const std::vector<WantedTensor>& tensors() const { return tensors_; }

 private:
  DType dtype_;
  std::vector<MemoryUse> held_by_device_;  // before any model
  std::int64_t n_parameters_ = 0;
  std::vector<WantedTensor> tensors_;
  std::unique_ptr<Model> model_;
};

std::int64_t total_bytes(const std::vector<CategoryBytes>& plan);

/// Most tokens of prompt and answer whose plan fits into `budget` bytes; 0 when not even one does,
/// and kEndlessContext when the model's memory does not grow to fill it.
constexpr std::int64_t kEndlessContext = std::int64_t{1} << 30;
std::int64_t longest_context(const Blueprint& blueprint, std::int64_t chunk, std::int64_t budget);

/// The fp32 plan of a device that computes and caches in bf16: recurrent states and logits stay
/// fp32 there, everything else takes half.
std::vector<CategoryBytes> in_bf16(std::vector<CategoryBytes> plan);

/// Throws OutOfMemory (predicted) when the plan exceeds `limit` or what the backend holds and could
/// still get. limit: bytes, 0 = none. Names the largest category that is not loaded yet.
void check_fits(const std::vector<CategoryBytes>& plan, Backend& backend, std::int64_t limit);

}  // namespace sala
