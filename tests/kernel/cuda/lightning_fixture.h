// Queries, keys and values of linear attention on the GPU, and what the kernels must give.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <numbers>

#include "engine/attention/lightning/cuda/prefill.h"
#include "engine/attention/lightning/cuda/step.h"
#include "engine/attention/lightning/lightning.h"
#include "tests/kernel/cuda/device_fixture.h"
#include "tests/random_weights.h"

namespace sala::testing {

namespace kernels = cuda::lightning;

inline const __nv_bfloat16* bf16(const DeviceBuffer<Bf16Bits>& buffer) {
  return reinterpret_cast<const __nv_bfloat16*>(buffer.data());
}
inline __nv_bfloat16* bf16(DeviceBuffer<Bf16Bits>& buffer) {
  return reinterpret_cast<__nv_bfloat16*>(buffer.data());
}

struct LinearShape {
  std::int64_t n_heads;
  std::int64_t n_kv_heads;
  std::int64_t head_dim;

  std::int64_t q_dim() const { return n_heads * head_dim; }
  std::int64_t kv_dim() const { return n_kv_heads * head_dim; }
  std::int64_t state_size() const { return q_dim() * head_dim; }
  float scale() const { return 1.0F / std::sqrt(static_cast<float>(head_dim)); }
};

/// What a call leaves behind.
struct LinearResult {
  std::vector<float> out;    // (n_tokens, q_dim)
  std::vector<float> state;  // (n_heads, head_dim, head_dim)
};

/// Tokens whose values bf16 holds exactly, after a history that left `state`.
struct LinearInput {
  LinearInput(const LinearShape& sizes, std::int64_t first, std::int64_t n, std::uint64_t seed = 1)
      : shape(sizes),
        start(first),
        n_tokens(n),
        q(rounded_to_bf16(random_floats(n * sizes.q_dim(), seed))),
        k(rounded_to_bf16(random_floats(n * sizes.kv_dim(), seed + 1))),
        v(rounded_to_bf16(random_floats(n * sizes.kv_dim(), seed + 2))),
        state(first == 0 ? std::vector<float>(static_cast<std::size_t>(sizes.state_size()))
                         : random_floats(sizes.state_size(), seed + 3, 2.0F)) {}

  LinearShape shape;
  std::int64_t start;
  std::int64_t n_tokens;
  std::vector<float> q, k, v, state;
};

inline std::vector<float> slopes_log2(std::int64_t n_heads) {
  std::vector<float> slopes;
  for (const double slope : lightning_slopes(n_heads)) {
    slopes.push_back(static_cast<float>(slope * std::numbers::log2e));
  }
  return slopes;
}

struct LinearExpected {
  std::vector<double> out;
  std::vector<double> state;
};

/// The recurrence in fp64.
inline LinearExpected linear_recurrence(const LinearInput& in) {
  const LinearShape& shape = in.shape;
  const std::int64_t d = shape.head_dim;
  const std::vector<double> slopes = lightning_slopes(shape.n_heads);
  LinearExpected expected{std::vector<double>(in.q.size()), widened(in.state)};
  for (std::int64_t h = 0; h < shape.n_heads; ++h) {
    const double keep = std::exp(-item(slopes, h));
    for (std::int64_t t = 0; t < in.n_tokens; ++t) {
      const auto query = static_cast<std::size_t>(t * shape.q_dim() + h * d);
      const auto key =
          static_cast<std::size_t>(t * shape.kv_dim() + h / (shape.n_heads / shape.n_kv_heads) * d);
      for (std::size_t i = 0; i < static_cast<std::size_t>(d); ++i) {
        double* s = &item(expected.state, (h * d + static_cast<std::int64_t>(i)) * d);
        const double k = static_cast<double>(in.k[key + i]);
        const double q = static_cast<double>(shape.scale()) * static_cast<double>(in.q[query + i]);
        for (std::size_t c = 0; c < static_cast<std::size_t>(d); ++c) {
          s[c] = keep * s[c] + k * static_cast<double>(in.v[key + c]);
          expected.out[query + c] += q * s[c];
        }
      }
    }
  }
  return expected;
}

/// Runs the prefill kernels over `in`, cut into calls at the given tokens of it.
inline LinearResult run_linear(const LinearInput& in, cudaStream_t stream,
                               std::vector<std::int64_t> cuts = {}, bool in_place = false) {
  const LinearShape& shape = in.shape;
  DeviceBuffer<Bf16Bits> q(to_bf16(in.q));
  const DeviceBuffer<Bf16Bits> k(to_bf16(in.k));
  const DeviceBuffer<Bf16Bits> v(to_bf16(in.v));
  DeviceBuffer<Bf16Bits> out(in.n_tokens * shape.q_dim());
  const DeviceBuffer<float> state(in.state);
  const DeviceBuffer<float> slopes(slopes_log2(shape.n_heads));
  cuts.push_back(in.n_tokens);
  std::int64_t done = 0;
  for (const std::int64_t end : cuts) {
    const auto heads = static_cast<int>(shape.n_heads);
    const auto dim = static_cast<int>(shape.head_dim);
    const DeviceBuffer<unsigned char> workspace(
        kernels::prefill_workspace_bytes(end - done, heads, dim));
    SALA_CUDA(
        kernels::launch_prefill({.q = bf16(q) + done * shape.q_dim(),
                                 .k = bf16(k) + done * shape.kv_dim(),
                                 .v = bf16(v) + done * shape.kv_dim(),
                                 .out = (in_place ? bf16(q) : bf16(out)) + done * shape.q_dim(),
                                 .state = state.data(),
                                 .workspace = workspace.data(),
                                 .slope_log2 = slopes.data(),
                                 .start = in.start + done,
                                 .n_tokens = end - done,
                                 .n_heads = heads,
                                 .n_kv_heads = static_cast<int>(shape.n_kv_heads),
                                 .head_dim = dim,
                                 .scale = shape.scale()},
                                stream));
    workspace.expect_guards_intact();
    done = end;
  }
  q.expect_guards_intact();
  out.expect_guards_intact();
  state.expect_guards_intact();
  EXPECT_EQ(from_bf16(k.download()), in.k) << "k was changed";
  EXPECT_EQ(from_bf16(v.download()), in.v) << "v was changed";
  if (!in_place) {
    EXPECT_EQ(from_bf16(q.download()), in.q) << "q was changed";
  }
  return {from_bf16((in_place ? q : out).download()), state.download()};
}

/// Of a state that gathered keys whose decayed values were rounded to bf16.
constexpr Bounds kStateBounds{2.5e-3, 3e-2};

}  // namespace sala::testing
