// Planning by a model that was built without memory, so that a plan cannot differ from the layers.
// SPDX-License-Identifier: Apache-2.0
#include "engine/memory_plan.h"

#include <algorithm>

#include "engine/base/error.h"

namespace sala {
namespace {

constexpr std::int64_t kCapacityStep = 256;

}  // namespace

std::int64_t sequence_capacity(std::int64_t n_tokens) {
  return (n_tokens + kCapacityStep - 1) / kCapacityStep * kCapacityStep;
}

Blueprint::Blueprint(const ModelConfig& config, Backend& backend)
    : dtype_(backend.compute_dtype()), held_by_device_(backend.ledger().uses()) {
  ListedWeights weights;
  model_ = std::make_unique<Model>(config, weights, backend);
  tensors_ = weights.tensors();
  for (const WantedTensor& tensor : tensors_) n_parameters_ += tensor.rows * tensor.cols;
}

std::vector<CategoryBytes> Blueprint::plan(std::int64_t n_tokens, std::int64_t chunk,
                                           std::int64_t logit_rows) const {
  const std::int64_t capacity = sequence_capacity(n_tokens);
  std::vector<CategoryBytes> plan{{"weights", n_parameters_ * dtype_bytes(dtype_)}};
  for (CategoryBytes& row : model_->sequence_bytes(std::min(chunk, capacity), capacity, dtype_)) {
    plan.push_back(std::move(row));
  }
  for (const MemoryUse& use : held_by_device_) add_bytes(plan, use.category, use.live_bytes);
  plan.push_back({"logits", logit_rows * model_->config().vocab * dtype_bytes(DType::f32)});
  return plan;
}

std::int64_t total_bytes(const std::vector<CategoryBytes>& plan) {
  std::int64_t total = 0;
  for (const CategoryBytes& row : plan) total += row.bytes;
  return total;
}

std::int64_t longest_context(const Blueprint& blueprint, std::int64_t chunk, std::int64_t budget) {
  const auto fits = [&](std::int64_t n_tokens) {
    return total_bytes(blueprint.plan(n_tokens, chunk, 1)) <= budget;
  };
  if (!fits(1)) return 0;
  if (fits(kEndlessContext)) return kEndlessContext;
  std::int64_t longest = 1;
  std::int64_t too_long = kEndlessContext;
  while (too_long - longest > 1) {
    const std::int64_t middle = longest + (too_long - longest) / 2;
    (fits(middle) ? longest : too_long) = middle;
  }
  return longest;
}

std::vector<CategoryBytes> in_bf16(std::vector<CategoryBytes> plan) {
  for (CategoryBytes& row : plan) {
    if (row.category != "linear_state" && row.category != "logits") row.bytes /= 2;
  }
  return plan;
}

void check_fits(const std::vector<CategoryBytes>& plan, Backend& backend, std::int64_t limit) {
  const std::int64_t live = backend.ledger().live_bytes();
  std::int64_t budget = live + backend.available_bytes();
  if (limit > 0) budget = std::min(budget, limit);
  const std::int64_t total = total_bytes(plan);
  if (total <= budget) return;

  // Loaded weights are not what stands in the way.
  const auto first = plan.begin() + (live >= plan.front().bytes ? 1 : 0);
  const auto largest = std::max_element(
      first, plan.end(),
      [](const CategoryBytes& a, const CategoryBytes& b) { return a.bytes < b.bytes; });
  const std::int64_t others = total - largest->bytes;
  throw OutOfMemory("memory plan", largest->category, largest->bytes,
                    std::max<std::int64_t>(budget - others, 0), true);
}

}  // namespace sala
