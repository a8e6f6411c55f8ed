// Copies rows of a cache to the host and lays them out as the CPU's own cache does.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/cuda/downloaded_blocks.h"

#include <algorithm>

#include "engine/backend/cpu/parallel.h"
#include "engine/backend/cuda/cuda_error.h"
#include "engine/base/bf16.h"

namespace sala::cuda::infllm_v2 {

void DownloadedBlocks::load(std::int64_t first, std::int64_t count) {
  first_ = first;
  count_ = count;
  const std::int64_t d = shape_.head_dim;
  const std::int64_t begin = first * kBlock;
  const std::int64_t n_tokens = std::min(count * kBlock, length_ - begin);
  const std::int64_t n_narrow = shape_.n_kv_heads * n_tokens * d;
  narrow_.resize(static_cast<std::size_t>(2 * n_narrow));
  keys_.resize(static_cast<std::size_t>(shape_.n_kv_heads * count * kBlock * d));
  values_.resize(keys_.size());
  const auto download = [&](const __nv_bfloat16* from, std::uint16_t* to) {
    const auto row_bytes = [&](std::int64_t tokens) {
      return static_cast<std::size_t>(tokens * d) * sizeof(*to);
    };
    SALA_CUDA(cudaMemcpy2DAsync(
        to, row_bytes(n_tokens), from + begin * d, row_bytes(cache_.capacity), row_bytes(n_tokens),
        static_cast<std::size_t>(shape_.n_kv_heads), cudaMemcpyDeviceToHost, stream_));
  };
  download(cache_.k, narrow_.data());
  download(cache_.v, narrow_.data() + n_narrow);
  SALA_CUDA(cudaStreamSynchronize(stream_));

  const auto work = static_cast<double>(2 * n_narrow);
  parallel_for(threads_, shape_.n_kv_heads * count, work, [&](std::int64_t item, int) {
    const std::int64_t head = item / count;
    const std::int64_t block = item % count;
    const std::int64_t n = std::min<std::int64_t>(kBlock, n_tokens - block * kBlock);
    const std::uint16_t* keys = narrow_.data() + (head * n_tokens + block * kBlock) * d;
    const std::uint16_t* values = keys + n_narrow;
    float* wide_keys = keys_.data() + item * kBlock * d;
    for (std::int64_t t = 0; t < n; ++t) {
      for (std::int64_t c = 0; c < d; ++c) wide_keys[c * kBlock + t] = bf16_to_f32(keys[t * d + c]);
    }
    std::transform(values, values + n * d, values_.data() + item * kBlock * d, bf16_to_f32);
  });
}

}  // namespace sala::cuda::infllm_v2
