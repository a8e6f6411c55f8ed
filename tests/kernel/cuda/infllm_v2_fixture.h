// One sequence in the caches of block-sparse attention on the GPU, and what its kernels must give.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <numeric>

#include "engine/attention/infllm_v2/cuda/append.h"
#include "engine/attention/infllm_v2/cuda/attend.h"
#include "engine/attention/infllm_v2/cuda/score.h"
#include "engine/attention/infllm_v2/cuda/select.h"
#include "engine/attention/infllm_v2/infllm_v2.h"
#include "tests/kernel/cuda/device_fixture.h"
#include "tests/random_weights.h"

namespace sala::testing {

namespace kernels = cuda::infllm_v2;

/// Two KV heads; 1 first, 2 local and 2 ranked blocks: rows are ranked from token 384 on.
inline kernels::Shape small_shape(std::int64_t head_dim, std::int64_t group = 16) {
  return {2, group, head_dim, 1.0F / std::sqrt(static_cast<float>(head_dim)), 1, 2, 4};
}
/// The 9B model's: rows are ranked from token 6144 on.
inline kernels::Shape model_shape(std::int64_t head_dim = 128) {
  return {2, 16, head_dim, 1.0F / std::sqrt(static_cast<float>(head_dim)), 1, 32, 64};
}

inline std::int64_t first_ranked(const kernels::Shape& shape) {
  return shape.n_selected() * kernels::kBlock;
}

inline InfllmV2Config config_of(const kernels::Shape& shape) {
  InfllmV2Config config;
  config.heads = {.n_heads = shape.n_kv_heads * shape.group,
                  .n_kv_heads = shape.n_kv_heads,
                  .head_dim = shape.head_dim,
                  .scale = shape.scale};
  config.init_blocks = shape.init_blocks;
  config.local_blocks = shape.local_blocks;
  config.topk = shape.topk;
  return config;
}

inline const __nv_bfloat16* bf16(const DeviceBuffer<Bf16Bits>& buffer) {
  return reinterpret_cast<const __nv_bfloat16*>(buffer.data());
}
inline __nv_bfloat16* bf16(DeviceBuffer<Bf16Bits>& buffer) {
  return reinterpret_cast<__nv_bfloat16*>(buffer.data());
}

/// Rounded random values (n, cols).
inline std::vector<float> random_rows(std::int64_t n, std::int64_t cols, std::uint64_t seed,
                                      float deviation = 1.0F) {
  return rounded_to_bf16(random_floats(n * cols, seed, deviation));
}

struct DeviceSequence {
  /// Random keys and values of `length` tokens on the host; empty caches on the device.
  DeviceSequence(const kernels::Shape& sizes, std::int64_t length, cudaStream_t on,
                 std::uint64_t seed = 1)
      : shape(sizes),
        capacity(kernels::ceil_div(length, kernels::kBlock) * kernels::kBlock),
        keys(random_rows(length, shape.kv_dim(), seed)),
        values(random_rows(length, shape.kv_dim(), seed + 1)),
        k(shape.kv_dim() * capacity),
        v(shape.kv_dim() * capacity),
        k1(shape.kv_dim() * capacity / kernels::kStride),
        k2(shape.kv_dim() * capacity / kernels::kBlock),
        stream(on) {}

  kernels::Cache cache() { return {bf16(k), bf16(v), bf16(k1), bf16(k2), capacity}; }

  /// Appends tokens [begin, end), in one call or as steps of one token.
  void append(std::int64_t begin, std::int64_t end, bool steps = false) {
    const auto rows = [&](const std::vector<float>& all) {
      return to_bf16(
          std::span(all).subspan(static_cast<std::size_t>(begin * shape.kv_dim()),
                                 static_cast<std::size_t>((end - begin) * shape.kv_dim())));
    };
    const DeviceBuffer<Bf16Bits> new_k(rows(keys));
    const DeviceBuffer<Bf16Bits> new_v(rows(values));
    if (!steps) {
      SALA_CUDA(kernels::launch_append({.k = bf16(new_k),
                                        .v = bf16(new_v),
                                        .cache = cache(),
                                        .shape = shape,
                                        .start = begin,
                                        .n_tokens = end - begin},
                                       stream));
    }
    for (std::int64_t t = begin; steps && t < end; ++t) {
      const DeviceBuffer<std::int32_t> position(std::vector{static_cast<std::int32_t>(t)});
      SALA_CUDA(kernels::launch_append({.k = bf16(new_k) + (t - begin) * shape.kv_dim(),
                                        .v = bf16(new_v) + (t - begin) * shape.kv_dim(),
                                        .cache = cache(),
                                        .shape = shape,
                                        .n_tokens = 1,
                                        .position = position.data()},
                                       stream));
      SALA_CUDA(cudaStreamSynchronize(stream));
    }
    SALA_CUDA(cudaStreamSynchronize(stream));
  }

  void expect_guards_intact() const {
    for (const auto* buffer : {&k, &v, &k1, &k2}) buffer->expect_guards_intact();
  }

  kernels::Shape shape;
  std::int64_t capacity;
  std::vector<float> keys;  // (length, n_kv_heads * head_dim)
  std::vector<float> values;
  DeviceBuffer<Bf16Bits> k, v, k1, k2;
  cudaStream_t stream;
};

/// Host copies of the compressed keys, one row of head_dim a window.
struct HostWindows {
  explicit HostWindows(const DeviceSequence& sequence)
      : shape(sequence.shape),
        capacity(sequence.capacity),
        k1(from_bf16(sequence.k1.download())),
        k2(from_bf16(sequence.k2.download())) {}

  const float* row(bool fine, std::int64_t head, std::int64_t j) const {
    const std::int64_t step = fine ? kernels::kStride : kernels::kBlock;
    return (fine ? k1 : k2).data() + (head * (capacity / step) + j) * shape.head_dim;
  }

  kernels::Shape shape;
  std::int64_t capacity;
  std::vector<float> k1;
  std::vector<float> k2;
};

/// Scores of blocks 0 ... candidates_end - 1 of the row at t in fp64, from the device's own
/// windows. q: the row's queries (group, head_dim) of KV head `head`.
inline std::vector<double> reference_scores(const HostWindows& windows, const float* q,
                                            std::int64_t t, std::int64_t head, bool exact_lse) {
  const kernels::Shape& shape = windows.shape;
  const std::int64_t candidates = shape.candidates_end(t / kernels::kBlock);
  std::vector<double> weights(static_cast<std::size_t>(4 * candidates));
  const auto score = [&](std::int64_t h, bool fine, std::int64_t j) {
    const float* key = windows.row(fine, head, j);
    double sum = 0;
    for (std::int64_t c = 0; c < shape.head_dim; ++c) {
      sum += static_cast<double>(q[h * shape.head_dim + c]) * static_cast<double>(key[c]);
    }
    return sum * static_cast<double>(shape.scale);
  };
  for (std::int64_t h = 0; h < shape.group; ++h) {
    std::vector<double> basis;
    const std::int64_t n =
        kernels::n_windows(t + 1, exact_lse ? kernels::kStride : kernels::kBlock);
    basis.reserve(static_cast<std::size_t>(n));
    for (std::int64_t j = 0; j < n; ++j) basis.push_back(score(h, exact_lse, j));
    const double largest = *std::max_element(basis.begin(), basis.end());
    double sum = 0;
    for (const double s : basis) sum += std::exp(s - largest);
    for (std::size_t j = 0; j < weights.size(); ++j) {
      weights[j] += std::exp(score(h, true, static_cast<std::int64_t>(j)) - largest) / sum;
    }
  }
  std::vector<double> scores(static_cast<std::size_t>(candidates));
  for (std::int64_t b = 0; b < candidates; ++b) {
    for (std::int64_t j = std::max<std::int64_t>(0, 4 * b - 1); j < 4 * b + 4; ++j) {
      double& best = scores[static_cast<std::size_t>(b)];
      best = std::max(best, weights[static_cast<std::size_t>(j)]);
    }
  }
  return scores;
}

/// Blocks that a row of those scores reads, by the routine of the CPU.
inline std::vector<std::int32_t> reference_blocks(const kernels::Shape& shape, std::int64_t t,
                                                  const std::vector<float>& scores) {
  std::vector<std::int32_t> blocks(static_cast<std::size_t>(shape.n_selected()));
  std::vector<float> scratch(scores.size());
  select_blocks(config_of(shape), t, scores.data(), scratch.data(), blocks.data());
  return blocks;
}

inline std::vector<std::uint32_t> mask_of(const std::vector<std::int32_t>& blocks,
                                          std::int64_t n_words) {
  std::vector<std::uint32_t> mask(static_cast<std::size_t>(n_words));
  for (const std::int32_t b : blocks) {
    mask[static_cast<std::size_t>(b / 32)] |= 1U << (b % 32);
  }
  return mask;
}
inline std::vector<std::int32_t> blocks_of(std::span<const std::uint32_t> mask, std::int64_t off) {
  std::vector<std::int32_t> blocks;
  for (std::int32_t b = 0; b <= off; ++b) {
    if ((mask[static_cast<std::size_t>(b / 32)] >> (b % 32) & 1U) != 0) blocks.push_back(b);
  }
  return blocks;
}

/// Attention of the row at t over the blocks in fp64: (group, head_dim) of KV head `head`.
inline std::vector<double> reference_attention(const DeviceSequence& sequence, const float* q,
                                               std::int64_t t, std::int64_t head,
                                               const std::vector<std::int32_t>& blocks) {
  const kernels::Shape& shape = sequence.shape;
  const std::int64_t d = shape.head_dim;
  const auto row = [&](const std::vector<float>& all, std::int64_t j) {
    return all.data() + j * shape.kv_dim() + head * d;
  };
  std::vector<std::int64_t> keys;
  for (const std::int64_t b : blocks) {
    const std::int64_t first = b * kernels::kBlock;
    for (std::int64_t j = first; j <= std::min(t, first + kernels::kBlock - 1); ++j) {
      keys.push_back(j);
    }
  }
  std::vector<double> out(static_cast<std::size_t>(shape.group * d));
  for (std::int64_t h = 0; h < shape.group; ++h) {
    std::vector<double> weights;
    for (const std::int64_t j : keys) {
      double sum = 0;
      for (std::int64_t c = 0; c < d; ++c) {
        sum += static_cast<double>(q[h * d + c]) * static_cast<double>(row(sequence.keys, j)[c]);
      }
      weights.push_back(sum * static_cast<double>(shape.scale));
    }
    const double largest = *std::max_element(weights.begin(), weights.end());
    double sum = 0;
    for (double& w : weights) sum += (w = std::exp(w - largest));
    for (std::size_t i = 0; i < keys.size(); ++i) {
      for (std::int64_t c = 0; c < d; ++c) {
        out[static_cast<std::size_t>(h * d + c)] +=
            weights[i] / sum * static_cast<double>(row(sequence.values, keys[i])[c]);
      }
    }
  }
  return out;
}

inline std::vector<std::int32_t> all_blocks(std::int64_t t) {
  std::vector<std::int32_t> blocks(static_cast<std::size_t>(t / kernels::kBlock + 1));
  std::iota(blocks.begin(), blocks.end(), 0);
  return blocks;
}

}  // namespace sala::testing
