// Queries and a key-value cache of dense attention on the GPU, and what the kernels must give.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/attention/dense/cuda/append.h"
#include "engine/attention/dense/cuda/prefill.h"
#include "engine/attention/dense/cuda/step.h"
#include "engine/attention/dense/cuda/tiles.h"
#include "engine/attention/reference_math.h"
#include "tests/kernel/cuda/device_fixture.h"
#include "tests/random_weights.h"

namespace sala::testing {

namespace kernels = cuda::dense;

inline const __nv_bfloat16* bf16(const DeviceBuffer<Bf16Bits>& buffer) {
  return reinterpret_cast<const __nv_bfloat16*>(buffer.data());
}
inline __nv_bfloat16* bf16(DeviceBuffer<Bf16Bits>& buffer) {
  return reinterpret_cast<__nv_bfloat16*>(buffer.data());
}

inline HeadOptions head_options(std::int64_t n_heads, std::int64_t n_kv_heads,
                                std::int64_t head_dim) {
  return {.n_heads = n_heads,
          .n_kv_heads = n_kv_heads,
          .head_dim = head_dim,
          .scale = 1.0F / std::sqrt(static_cast<float>(head_dim))};
}

/// Random tokens of one layer on the host, whose values bf16 holds exactly, and their caches on the
/// device: everything behind the last token is NaN.
struct DenseSequence {
  DenseSequence(const HeadOptions& options, std::int64_t length, cudaStream_t on,
                std::uint64_t seed = 1)
      : heads(options),
        n_tokens(length),
        capacity(kernels::cache_capacity(length)),
        q(rounded_to_bf16(random_floats(length * options.q_dim(), seed))),
        k(rounded_to_bf16(random_floats(length * options.kv_dim(), seed + 1))),
        v(rounded_to_bf16(random_floats(length * options.kv_dim(), seed + 2))),
        k_cache(options.kv_dim() * capacity),
        v_cache(options.kv_dim() * capacity),
        stream(on) {}

  int n_heads() const { return static_cast<int>(heads.n_heads); }
  int n_kv_heads() const { return static_cast<int>(heads.n_kv_heads); }
  int head_dim() const { return static_cast<int>(heads.head_dim); }

  static std::vector<Bf16Bits> rows(const std::vector<float>& x, std::int64_t cols,
                                    std::int64_t first, std::int64_t end) {
    return to_bf16(std::span(x).subspan(static_cast<std::size_t>(first * cols),
                                        static_cast<std::size_t>((end - first) * cols)));
  }

  /// Appends tokens [first, end); position: the device's, for a single one.
  void append(std::int64_t first, std::int64_t end, const std::int32_t* position = nullptr) {
    const DeviceBuffer<Bf16Bits> new_k(rows(k, heads.kv_dim(), first, end));
    const DeviceBuffer<Bf16Bits> new_v(rows(v, heads.kv_dim(), first, end));
    SALA_CUDA(kernels::launch_append({.k = bf16(new_k),
                                      .v = bf16(new_v),
                                      .k_cache = bf16(k_cache),
                                      .v_cache = bf16(v_cache),
                                      .capacity = capacity,
                                      .start = position == nullptr ? first : -1,
                                      .position = position,
                                      .n_tokens = end - first,
                                      .n_kv_heads = n_kv_heads(),
                                      .head_dim = head_dim()},
                                     stream));
    k_cache.expect_guards_intact();
    v_cache.expect_guards_intact();
  }

  kernels::PrefillParams prefill_params(DeviceBuffer<Bf16Bits>& queries,
                                        DeviceBuffer<Bf16Bits>& out, std::int64_t first,
                                        std::int64_t end) {
    return {.q = bf16(queries),
            .k = bf16(k_cache),
            .v = bf16(v_cache),
            .capacity = capacity,
            .out = bf16(out),
            .start = first,
            .n_tokens = end - first,
            .n_heads = n_heads(),
            .n_kv_heads = n_kv_heads(),
            .head_dim = head_dim(),
            .scale = heads.scale};
  }

  /// Attention of rows [first, end) after all tokens before `end` were appended.
  std::vector<float> prefill(std::int64_t first, std::int64_t end, bool in_place = false) {
    DeviceBuffer<Bf16Bits> queries(rows(q, heads.q_dim(), first, end));
    DeviceBuffer<Bf16Bits> out((end - first) * heads.q_dim());
    DeviceBuffer<Bf16Bits>& to = in_place ? queries : out;
    SALA_CUDA(kernels::launch_prefill(prefill_params(queries, to, first, end), stream));
    to.expect_guards_intact();
    return from_bf16(to.download());
  }

  /// Attention of token t alone, at the device's position.
  std::vector<float> step(std::int64_t t, const std::int32_t* position) {
    DeviceBuffer<Bf16Bits> queries(rows(q, heads.q_dim(), t, t + 1));
    const DeviceBuffer<float> partials(
        kernels::step_workspace_bytes(capacity, n_heads(), n_kv_heads(), head_dim()) / 4);
    SALA_CUDA(kernels::launch_step({.q = bf16(queries),
                                    .k = bf16(k_cache),
                                    .v = bf16(v_cache),
                                    .capacity = capacity,
                                    .position = position,
                                    .out = bf16(queries),
                                    .partials = partials.data(),
                                    .n_heads = n_heads(),
                                    .n_kv_heads = n_kv_heads(),
                                    .head_dim = head_dim(),
                                    .scale = heads.scale},
                                   stream));
    queries.expect_guards_intact();
    partials.expect_guards_intact();
    return from_bf16(queries.download());
  }

  /// Row t in fp64, all heads.
  std::vector<double> expected(std::int64_t t) const {
    const ReferenceHeads x{widened(q), widened(k), widened(v)};
    std::vector<std::int64_t> keys;
    for (std::int64_t j = 0; j <= t; ++j) keys.push_back(j);
    std::vector<double> out(static_cast<std::size_t>(heads.q_dim()));
    for (std::int64_t h = 0; h < heads.n_heads; ++h) {
      reference_softmax_row(heads, x, t, h, keys, &item(out, h * heads.head_dim));
    }
    return out;
  }
  std::vector<double> expected_rows(std::int64_t first, std::int64_t end) const {
    std::vector<double> out;
    for (std::int64_t t = first; t < end; ++t) {
      const std::vector<double> row = expected(t);
      out.insert(out.end(), row.begin(), row.end());
    }
    return out;
  }

  HeadOptions heads;
  std::int64_t n_tokens;
  std::int64_t capacity;
  std::vector<float> q, k, v;
  DeviceBuffer<Bf16Bits> k_cache, v_cache;
  cudaStream_t stream;
};

}  // namespace sala::testing
