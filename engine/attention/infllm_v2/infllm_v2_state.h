// Keys, values and compressed keys of one sequence in one block-sparse layer.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

#include "engine/attention/dense/dense.h"
#include "engine/attention/infllm_v2/infllm_v2_config.h"

namespace sala {

/// Means of keys over windows: k1 of two strides, k2 of eight. Kept in tiles of kTile windows, each
/// stored transposed, (head_dim, kTile). Only complete windows exist. They are made of fp32 sums
/// over one stride, added in index order, so they do not depend on how the keys arrived.
class CompressedKeys {
 public:
  static constexpr std::int64_t kTile = 64;

  CompressedKeys(Backend& backend, const InfllmV2Config& config, std::int64_t max_tokens);
  static std::int64_t bytes(const InfllmV2Config& config, std::int64_t max_tokens);

  CompressedKeys clone() const;
  void clear();
  /// Takes in keys k (n_tokens, n_kv_heads * head_dim) of the tokens from `start` on; host memory.
  void append_cpu(TensorView k, std::int64_t start, int threads);

  const float* k1(std::int64_t head, std::int64_t tile) const { return at(k1_, n1_, head, tile); }
  const float* k2(std::int64_t head, std::int64_t tile) const { return at(k2_, n2_, head, tile); }

 private:
  float* at(const Tensor& tensor, std::int64_t n_tiles, std::int64_t head,
            std::int64_t tile) const {
    return tensor.view.f32() + (head * n_tiles + tile) * head_dim_ * kTile;
  }
  void append_head(TensorView k, std::int64_t start, std::int64_t head);

  static constexpr std::int64_t kRing = 8;  // closed stride sums that k2 still needs

  Backend* backend_;
  InfllmV2Config config_;
  std::int64_t max_tokens_;
  std::int64_t head_dim_;
  std::int64_t n1_;  // tiles a head
  std::int64_t n2_;
  Tensor k1_;
  Tensor k2_;
  Tensor sums_;  // (n_kv_heads, kRing + 1, head_dim): closed sums i % kRing, then the open one
};

class InfllmV2State final : public LayerState {
 public:
  InfllmV2State(KvCache kv, CompressedKeys compressed)
      : cache(std::move(kv)), keys(std::move(compressed)) {}
  std::int64_t length() const override { return cache.length(); }
  void clear() override {
    cache.clear();
    keys.clear();
  }
  std::unique_ptr<LayerState> clone() const override {
    return std::make_unique<InfllmV2State>(cache.clone(), keys.clone());
  }

  KvCache cache;
  CompressedKeys keys;
};

}  // namespace sala
