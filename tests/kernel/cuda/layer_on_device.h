// Runs an attention layer of the GPU over a prompt that is cut into calls, with buffers guarded.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "engine/attention/attention.h"
#include "engine/attention/reference_math.h"
#include "engine/backend/workspace.h"
#include "tests/kernel/cuda/device_fixture.h"
#include "tests/random_weights.h"

namespace sala::testing {

/// Of a whole layer: projections, attention, gate and result are each rounded to bf16.
constexpr Bounds kLayerBounds{1.5e-2, 8e-2};

struct LayerOnDevice {
  using Make = std::unique_ptr<AttentionLayer> (*)(const LayerSpec&, WeightSource&, Backend&);

  LayerOnDevice(CudaBackend& on, const std::string& kind, nlohmann::json options, Make make)
      : backend(on),
        weights(7, on),
        spec{kind, std::move(options), "layer.", kHidden},
        layer(make(spec, weights, on)) {}

  static std::vector<float> input(std::int64_t n_tokens) {
    return rounded_to_bf16(random_floats(n_tokens * kHidden, 3));
  }
  static std::vector<float> rows(const std::vector<float>& x, std::int64_t first,
                                 std::int64_t end) {
    return {x.begin() + first * kHidden, x.begin() + end * kHidden};
  }

  /// NaN until somebody writes; initcheck does not see what the library's products store.
  static void poison(Workspace& scratch, std::int64_t bytes) {
    const Workspace::Mark mark(scratch);
    const std::int64_t whole = bytes / 64 * 64;
    SALA_CUDA(cudaMemset(scratch.take_bytes(whole), 0xff, static_cast<std::size_t>(whole)));
    SALA_CUDA(cudaDeviceSynchronize());
  }

  /// Continues `state` with x; what was added to a residual stream of zeros, undone of its scale.
  std::vector<float> run(LayerState& state, const std::vector<float>& x,
                         const std::vector<std::int64_t>& chunks, std::int64_t max_tokens) {
    const std::int64_t longest = *std::max_element(chunks.begin(), chunks.end());
    Workspace scratch(backend, layer->scratch_bytes(longest, max_tokens));
    ExecutionContext context{backend, scratch, trace, route, 0, max_tokens};
    std::vector<float> result;
    std::int64_t done = 0;
    for (const std::int64_t n : chunks) {
      const std::vector<float> piece = rows(x, done, done + n);
      const DeviceMatrix in(n, kHidden, piece);
      const DeviceMatrix out(n, kHidden, std::vector<float>(piece.size()));
      backend.set_position(state.length());
      poison(scratch, layer->scratch_bytes(longest, max_tokens));
      const std::int64_t live = backend.ledger().live_bytes();
      layer->forward(in.view(), state, kScale, out.view(), context);
      EXPECT_EQ(backend.ledger().live_bytes(), live) << "forward() allocated";
      for (const float value : out.values()) result.push_back(value / kScale);
      out.expect_guards_intact();
      EXPECT_EQ(in.values(), piece) << "x was changed";
      done += n;
    }
    return result;
  }
  std::vector<float> run(const std::vector<float>& x, const std::vector<std::int64_t>& chunks) {
    const auto n = static_cast<std::int64_t>(x.size()) / kHidden;
    const auto state = layer->new_state(n);
    return run(*state, x, chunks, n);
  }

  /// The weights as the device holds them.
  ReferenceWeights reference() const {
    return [this](const std::string& name, std::int64_t n_rows, std::int64_t cols) {
      return widened(rounded_to_bf16(weights.values(name, n_rows, cols)));
    };
  }

  /// Continuing a clone equals continuing the original, and a cleared state starts anew, to the
  /// bit.
  void expect_state_laws(std::int64_t n) {
    const std::int64_t half = n / 2;
    const std::vector<float> head = rows(input(n), 0, half);
    const std::vector<float> tail = rows(input(n), half, n);
    const std::vector<std::int64_t> chunks{n - half - 2, 1, 1};
    const auto state = layer->new_state(n);
    const auto first = run(*state, head, {half}, n);
    const auto clone = state->clone();
    EXPECT_EQ(clone->length(), half);
    const auto rest = run(*state, tail, chunks, n);
    EXPECT_EQ(run(*clone, tail, chunks, n), rest);
    state->clear();
    EXPECT_EQ(state->length(), 0);
    EXPECT_EQ(run(*state, head, {half}, n), first);
    EXPECT_EQ(run(*state, tail, chunks, n), rest);
  }

  /// What state_bytes() promises is what the ledger sees, up to rounding of each allocation.
  void expect_planned_bytes(std::int64_t max_tokens) {
    const std::int64_t before = backend.ledger().live_bytes();
    const auto state = layer->new_state(max_tokens);
    std::int64_t planned = 0;
    for (const CategoryBytes& part : layer->state_bytes(max_tokens)) planned += part.bytes;
    const std::int64_t held = backend.ledger().live_bytes() - before;
    EXPECT_GE(held, planned);
    EXPECT_LE(held, planned + 2 * 256);
  }

  /// Records the step after a prompt and replays it for that token and the next ones.
  void expect_recording_serves_later_positions(std::int64_t prompt, std::int64_t n_steps) {
    const std::int64_t n = prompt + 1 + n_steps;
    const std::vector<float> x = input(n);
    std::vector<std::int64_t> chunks{prompt};
    chunks.resize(static_cast<std::size_t>(n - prompt + 1), 1);
    const std::vector<float> expected = run(x, chunks);

    const auto state = layer->new_state(n);
    // Kernels are loaded before they are recorded.
    run(*state, rows(x, 0, prompt + 1), {prompt, 1}, n);
    Workspace scratch(backend, layer->scratch_bytes(1, n));
    ExecutionContext context{backend, scratch, trace, route, 0, prompt};
    const DeviceMatrix in(1, kHidden);
    const DeviceMatrix out(1, kHidden);
    std::unique_ptr<Recording> recording;
    for (std::int64_t t = prompt + 1; t < n; ++t) {
      const DeviceMatrix row(1, kHidden, rows(x, t, t + 1));
      backend.copy(row.view(), in.view());
      backend.fill_zero(out.view());
      backend.set_position(t);
      if (!recording) {
        recording =
            backend.record([&] { layer->forward(in.view(), *state, kScale, out.view(), context); });
        if (!recording) GTEST_SKIP() << "this device does not record";
      } else {
        layer->replayed(*state, context);
      }
      recording->run();
      std::vector<float> got = out.values();
      for (float& value : got) value /= kScale;
      EXPECT_EQ(got, rows(expected, t, t + 1)) << "at position " << t;
      EXPECT_EQ(state->length(), t + 1);
    }
  }

  static constexpr std::int64_t kHidden = 64;
  static constexpr float kScale = 0.5F;

  CudaBackend& backend;
  SeededWeights weights;
  LayerSpec spec;
  std::unique_ptr<AttentionLayer> layer;
  Trace trace;
  RouteLog route;
};

}  // namespace sala::testing
