// Memory of a key-value cache.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/dense/dense_state.h"

#include "engine/base/error.h"

namespace sala {

namespace {

std::int64_t blocks_for(std::int64_t tokens, std::int64_t block) {
  return (tokens + block - 1) / block;
}

}  // namespace

KvCache::KvCache(Backend& backend, const HeadOptions& heads, std::int64_t block,
                 std::int64_t max_tokens, const char* category)
    : backend_(&backend),
      category_(category),
      n_heads_(heads.n_kv_heads),
      head_dim_(heads.head_dim),
      block_(block),
      n_blocks_(blocks_for(max_tokens, block)),
      max_tokens_(max_tokens),
      keys_(make_tensor(backend, n_heads_ * n_blocks_ * head_dim_, block, category)),
      values_(make_tensor(backend, n_heads_ * n_blocks_ * block, head_dim_, category)) {}

std::int64_t KvCache::bytes(const HeadOptions& heads, std::int64_t block, std::int64_t max_tokens) {
  constexpr std::int64_t kFloat = 4;
  return 2 * heads.kv_dim() * blocks_for(max_tokens, block) * block * kFloat;
}

KvCache KvCache::clone() const {
  HeadOptions heads;
  heads.n_heads = n_heads_;
  heads.n_kv_heads = n_heads_;
  heads.head_dim = head_dim_;
  KvCache copy(*backend_, heads, block_, max_tokens_, category_);
  copy.length_ = length_;
  const std::int64_t used = blocks_for(length_, block_);
  for (std::int64_t head = 0; head < n_heads_ && used > 0; ++head) {
    const std::int64_t first = head * n_blocks_;
    backend_->copy(keys_.view.row_range(first * head_dim_, used * head_dim_),
                   copy.keys_.view.row_range(first * head_dim_, used * head_dim_));
    backend_->copy(values_.view.row_range(first * block_, used * block_),
                   copy.values_.view.row_range(first * block_, used * block_));
  }
  return copy;
}

void KvCache::extend(std::int64_t n) {
  if (length_ + n > max_tokens_) {
    throw Error("attention", "{} tokens exceed the {} that the state was made for", length_ + n,
                max_tokens_);
  }
  length_ += n;
}

}  // namespace sala
