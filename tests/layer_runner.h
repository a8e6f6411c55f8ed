// Runs an attention layer over a prompt that is cut into chunks, with every buffer guarded.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "engine/attention/attention.h"
#include "tests/guarded_matrix.h"
#include "tests/random_weights.h"
#include "tests/tolerance.h"

namespace sala::testing {

/// One layer with its backend and seeded weights.
struct LayerUnderTest {
  LayerUnderTest(const std::string& kind, nlohmann::json options, int threads = 2,
                 std::int64_t hidden_size = 24)
      : hidden(hidden_size),
        backend(make_backend("cpu", threads)),
        weights(7, *backend),
        spec{kind, std::move(options), "layer.", hidden},
        layer(make_attention(spec, weights, *backend)) {}

  std::vector<float> input(std::int64_t n_tokens, std::uint64_t seed = 3) const {
    return random_floats(n_tokens * hidden, seed);
  }

  /// Continues `state` with x, cut into `chunks`; prefill_end counts from the state's start.
  std::vector<float> run(LayerState& state, const std::vector<float>& x,
                         const std::vector<std::int64_t>& chunks, std::int64_t prefill_end,
                         std::int64_t max_tokens) {
    const std::int64_t longest = *std::max_element(chunks.begin(), chunks.end());
    Workspace scratch(*backend, layer->scratch_bytes(longest, max_tokens));
    ExecutionContext context{*backend, scratch, trace, route, 0, prefill_end, selection};
    const std::int64_t live = backend->ledger().live_bytes();
    std::vector<float> result;
    std::int64_t done = 0;
    for (const std::int64_t n : chunks) {
      const std::vector<float> piece(x.begin() + done * hidden, x.begin() + (done + n) * hidden);
      const std::vector<float> residual(piece.size(), kResidual);
      GuardedMatrix in(n, hidden, piece);
      GuardedMatrix out(n, hidden, residual);
      layer->forward(in.view(), state, kScale, out.view(), context);
      in.expect_guards_intact();
      out.expect_guards_intact();
      EXPECT_TRUE(std::equal(piece.begin(), piece.end(), in.values().begin())) << "x was changed";
      EXPECT_EQ(backend->ledger().live_bytes(), live) << "forward() allocated";
      for (std::size_t i = 0; i < piece.size(); ++i) {
        result.push_back((out.values()[i] - residual[i]) / kScale);
      }
      done += n;
    }
    EXPECT_EQ(done * hidden, static_cast<std::int64_t>(x.size()));
    return result;
  }

  /// x from token 0 in a new state that is just large enough.
  std::vector<float> run(const std::vector<float>& x, const std::vector<std::int64_t>& chunks) {
    const std::int64_t n_tokens = std::accumulate(chunks.begin(), chunks.end(), std::int64_t{0});
    const auto state = layer->new_state(n_tokens);
    std::vector<float> out = run(*state, x, chunks, n_tokens, n_tokens);
    EXPECT_EQ(state->length(), n_tokens);
    return out;
  }

  // A layer adds to what is there; powers of two of the size of its result keep the rounding small.
  static constexpr float kScale = 0.5F;
  static constexpr float kResidual = 0.25F;

  std::int64_t hidden;
  std::unique_ptr<Backend> backend;
  SeededWeights weights;
  LayerSpec spec;
  std::unique_ptr<AttentionLayer> layer;
  Trace trace;
  RouteLog route;
  SelectionProbe* selection = nullptr;
};

/// n cut into random pieces of 1 to `longest`.
inline std::vector<std::int64_t> random_chunks(std::int64_t n, std::int64_t longest,
                                               std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::int64_t> chunks;
  while (n > 0) {
    const auto size = 1 + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(longest));
    chunks.push_back(std::min(n, size));
    n -= chunks.back();
  }
  return chunks;
}

/// Rows of width `cols` for which keep(row) holds.
template <typename T, typename Keep>
std::vector<T> rows_where(const std::vector<T>& x, std::int64_t cols, const Keep& keep) {
  std::vector<T> kept;
  for (std::int64_t r = 0; r < static_cast<std::int64_t>(x.size()) / cols; ++r) {
    if (keep(r)) kept.insert(kept.end(), x.begin() + r * cols, x.begin() + (r + 1) * cols);
  }
  return kept;
}

template <typename Expected>
void expect_close(const std::vector<float>& actual, const std::vector<Expected>& expected,
                  double tolerance) {
  expect_close(std::span<const float>(actual), std::span<const Expected>(expected), tolerance);
}

/// Laws that every state obeys: continuing a clone equals continuing the original, and a cleared
/// state starts anew, to the bit.
inline void expect_state_laws(LayerUnderTest& test, std::int64_t n_tokens) {
  const std::int64_t half = n_tokens / 2;
  const std::vector<float> x = test.input(n_tokens);
  const std::vector<float> head(x.begin(), x.begin() + half * test.hidden);
  const std::vector<float> tail(x.begin() + half * test.hidden, x.end());
  const auto state = test.layer->new_state(n_tokens);
  const auto first = test.run(*state, head, {half}, n_tokens, n_tokens);
  const auto clone = state->clone();
  EXPECT_EQ(clone->length(), half);
  const auto rest = test.run(*state, tail, {n_tokens - half}, n_tokens, n_tokens);
  EXPECT_EQ(test.run(*clone, tail, {n_tokens - half}, n_tokens, n_tokens), rest);
  state->clear();
  EXPECT_EQ(state->length(), 0);
  EXPECT_EQ(test.run(*state, head, {half}, n_tokens, n_tokens), first);
  EXPECT_EQ(test.run(*state, tail, {n_tokens - half}, n_tokens, n_tokens), rest);
}

/// What state_bytes() promises is what the ledger sees, up to rounding of each allocation.
inline void expect_planned_bytes(LayerUnderTest& test, std::int64_t max_tokens) {
  const std::int64_t before = test.backend->ledger().live_bytes();
  const auto state = test.layer->new_state(max_tokens);
  std::int64_t planned = 0;
  for (const CategoryBytes& part : test.layer->state_bytes(max_tokens)) planned += part.bytes;
  const std::int64_t held = test.backend->ledger().live_bytes() - before;
  EXPECT_GE(held, planned);
  EXPECT_LE(held, planned + 4 * 64);
}

}  // namespace sala::testing
