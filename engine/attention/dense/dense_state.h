// Keys and values of one sequence in one softmax layer.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "engine/attention/options.h"

namespace sala {

/// Keys and values, head-major, in blocks of `block` tokens. A block of keys is stored transposed,
/// (head_dim, block), so that scores are a plain product; a block of values is (block, head_dim).
class KvCache {
 public:
  KvCache(Backend& backend, const HeadOptions& heads, std::int64_t block, std::int64_t max_tokens,
          const char* category);
  /// Memory of such a cache.
  static std::int64_t bytes(const HeadOptions& heads, std::int64_t block, std::int64_t max_tokens);

  KvCache clone() const;
  void clear() { length_ = 0; }
  std::int64_t length() const { return length_; }
  std::int64_t block() const { return block_; }
  std::int64_t n_heads() const { return n_heads_; }
  /// Makes room for n more tokens. Throws Error when they exceed max_tokens.
  void extend(std::int64_t n);

  float* keys(std::int64_t head, std::int64_t block) const { return at(keys_, head, block); }
  float* values(std::int64_t head, std::int64_t block) const { return at(values_, head, block); }

 private:
  float* at(const Tensor& tensor, std::int64_t head, std::int64_t block) const {
    return tensor.view.f32() + (head * n_blocks_ + block) * block_ * head_dim_;
  }

  Backend* backend_;
  const char* category_;
  std::int64_t n_heads_;
  std::int64_t head_dim_;
  std::int64_t block_;
  std::int64_t n_blocks_;
  std::int64_t max_tokens_;
  std::int64_t length_ = 0;
  Tensor keys_;
  Tensor values_;
};

class DenseState final : public LayerState {
 public:
  explicit DenseState(KvCache kv) : cache(std::move(kv)) {}
  std::int64_t length() const override { return cache.length(); }
  void clear() override { cache.clear(); }
  std::unique_ptr<LayerState> clone() const override {
    return std::make_unique<DenseState>(cache.clone());
  }

  KvCache cache;
};

}  // namespace sala
