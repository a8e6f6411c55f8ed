// Keeps compressed keys up to date, one stride at a time.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/infllm_v2_state.h"

#include <algorithm>

#include "engine/backend/cpu/parallel.h"
#include "engine/backend/cpu/vector_math.h"

namespace sala {

namespace {

std::int64_t tiles_for(std::int64_t windows) {
  return (windows + CompressedKeys::kTile - 1) / CompressedKeys::kTile;
}

}  // namespace

CompressedKeys::CompressedKeys(Backend& backend, const InfllmV2Config& config,
                               std::int64_t max_tokens)
    : backend_(&backend),
      config_(config),
      max_tokens_(max_tokens),
      head_dim_(config.heads.head_dim),
      n1_(tiles_for(config.n_k1(max_tokens))),
      n2_(tiles_for(config.n_k2(max_tokens))),
      k1_(make_tensor(backend, config.heads.kv_dim() * n1_, kTile, "sparse_index")),
      k2_(make_tensor(backend, config.heads.kv_dim() * n2_, kTile, "sparse_index")),
      sums_(
          make_tensor(backend, config.heads.n_kv_heads * (kRing + 1), head_dim_, "sparse_index")) {
  clear();
}

std::int64_t CompressedKeys::bytes(const InfllmV2Config& config, std::int64_t max_tokens) {
  constexpr std::int64_t kFloat = 4;
  const std::int64_t tiles =
      tiles_for(config.n_k1(max_tokens)) + tiles_for(config.n_k2(max_tokens));
  return config.heads.kv_dim() * (tiles * kTile + kRing + 1) * kFloat;
}

CompressedKeys CompressedKeys::clone() const {
  CompressedKeys copy(*backend_, config_, max_tokens_);
  backend_->copy(k1_.view, copy.k1_.view);
  backend_->copy(k2_.view, copy.k2_.view);
  backend_->copy(sums_.view, copy.sums_.view);
  return copy;
}

void CompressedKeys::clear() {
  backend_->fill_zero(sums_.view);
}

void CompressedKeys::append_cpu(TensorView k, std::int64_t start, int threads) {
  parallel_for(threads, config_.heads.n_kv_heads, static_cast<double>(k.size()),
               [&](std::int64_t head, int) { append_head(k, start, head); });
}

void CompressedKeys::append_head(TensorView k, std::int64_t start, std::int64_t head) {
  const std::int64_t stride = config_.stride;
  const std::int64_t d = head_dim_;
  float* sums = sums_.view.f32() + head * (kRing + 1) * d;
  float* open = sums + kRing * d;
  // Window j of a tensor: mean of the n strides from `first` on, added in that order.
  const auto emit = [&](const Tensor& tensor, std::int64_t n_tiles, std::int64_t j,
                        std::int64_t first, std::int64_t n) {
    float* column = at(tensor, n_tiles, head, j / kTile) + j % kTile;
    const float factor = 1.0F / static_cast<float>(n * stride);
    for (std::int64_t c = 0; c < d; ++c) {
      float total = 0;
      for (std::int64_t i = first; i < first + n; ++i) total += sums[i % kRing * d + c];
      column[c * kTile] = total * factor;
    }
  };
  for (std::int64_t t = start; t < start + k.rows; ++t) {
    add_scaled_row(k.f32() + (t - start) * k.cols + head * d, 1.0F, open, d);
    if ((t + 1) % stride != 0) continue;
    const std::int64_t i = (t + 1) / stride - 1;  // the stride that ends here
    std::copy_n(open, d, sums + i % kRing * d);
    std::fill_n(open, d, 0.0F);
    if (i >= 1) emit(k1_, n1_, i - 1, i - 1, 2);
    if (i >= kRing - 1 && (i + 1) % 4 == 0) emit(k2_, n2_, (i + 1) / 4 - 2, i - 7, kRing);
  }
}

}  // namespace sala
