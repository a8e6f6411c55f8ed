// Blocks of keys and values of a GPU's cache, copied to the host a few at a time.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "engine/attention/infllm_v2/cuda/cache.h"
#include "engine/attention/infllm_v2/selection_fidelity.h"

namespace sala::cuda::infllm_v2 {

class DownloadedBlocks final : public BlockSource {
 public:
  /// length: tokens that the cache holds. Copies on `stream` and waits; threads: of the host, to
  /// widen what was copied.
  DownloadedBlocks(const Cache& cache, const Shape& shape, std::int64_t length, int threads,
                   cudaStream_t stream)
      : cache_(cache), shape_(shape), length_(length), threads_(threads), stream_(stream) {}

  void load(std::int64_t first, std::int64_t count) override;
  const float* keys(std::int64_t head, std::int64_t block) const override {
    return keys_.data() + offset(head, block);
  }
  const float* values(std::int64_t head, std::int64_t block) const override {
    return values_.data() + offset(head, block);
  }

 private:
  std::int64_t offset(std::int64_t head, std::int64_t block) const {
    return (head * count_ + block - first_) * kBlock * shape_.head_dim;
  }

  Cache cache_;
  Shape shape_;
  std::int64_t length_;
  int threads_;
  cudaStream_t stream_;
  std::int64_t first_ = 0;
  std::int64_t count_ = 0;
  std::vector<std::uint16_t> narrow_;  // keys, then values: (n_kv_heads, tokens, head_dim)
  std::vector<float> keys_;            // (n_kv_heads, count, head_dim, kBlock)
  std::vector<float> values_;          // (n_kv_heads, count, kBlock, head_dim)
};

}  // namespace sala::cuda::infllm_v2
