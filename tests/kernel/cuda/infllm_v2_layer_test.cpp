// The block-sparse layer on the GPU against fp64, and the laws of its state.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/cuda/infllm_v2_cuda.h"

#include "engine/attention/dense/dense.h"
#include "engine/attention/infllm_v2/cuda/score.h"
#include "engine/attention/infllm_v2/infllm_v2.h"
#include "engine/backend/cuda/hopper.h"
#include "engine/backend/workspace.h"
#include "tests/expect_error.h"
#include "tests/kernel/cuda/device_fixture.h"
#include "tests/random_weights.h"

namespace sala::testing {
namespace {

constexpr std::int64_t kHidden = 64;
constexpr float kScale = 0.5F;

/// 16 query heads a KV head; 1 first, 2 local and 4 ranked blocks: rows are ranked from 512 on.
nlohmann::json options(const nlohmann::json& more = {}, std::int64_t dense_len = 0) {
  nlohmann::json json = {{"n_heads", 32},
                         {"n_kv_heads", 2},
                         {"head_dim", 64},
                         {"scale", 0.25},
                         {"rms_norm_eps", 1e-6},
                         {"rope", nullptr},
                         {"output_gate", true},
                         {"sparse",
                          {{"kernel_size", 32},
                           {"kernel_stride", 16},
                           {"init_blocks", 1},
                           {"block_size", 64},
                           {"window_size", 128},
                           {"topk", 6},
                           {"dense_len", dense_len}}}};
  if (!more.is_null()) json.update(more);
  return json;
}

/// A layer with seeded weights, run over a prompt that is cut into calls.
struct DeviceLayer {
  DeviceLayer(CudaBackend& on, nlohmann::json json)
      : backend(on),
        weights(7, on),
        spec{"infllm_v2", std::move(json), "layer.", kHidden},
        layer(make_infllm_v2_cuda(spec, weights, on)) {}

  static std::vector<float> input(std::int64_t n_tokens) {
    return rounded_to_bf16(random_floats(n_tokens * kHidden, 3));
  }

  /// One call; what it added to the residual stream, undone of the scale.
  std::vector<float> call(LayerState& state, std::span<const float> x, ExecutionContext& context) {
    const std::int64_t n = static_cast<std::int64_t>(x.size()) / kHidden;
    const DeviceMatrix in(n, kHidden, x);
    const DeviceMatrix out(n, kHidden, std::vector<float>(x.size()));
    backend.set_position(state.length());
    const std::int64_t live = backend.ledger().live_bytes();
    layer->forward(in.view(), state, kScale, out.view(), context);
    EXPECT_EQ(backend.ledger().live_bytes(), live) << "forward() allocated";
    std::vector<float> mixed = out.values();
    out.expect_guards_intact();
    EXPECT_TRUE(std::equal(x.begin(), x.end(), in.values().begin())) << "x was changed";
    for (float& value : mixed) value /= kScale;
    return mixed;
  }

  std::vector<float> run(LayerState& state, const std::vector<float>& x,
                         const std::vector<std::int64_t>& chunks, std::int64_t prefill_end,
                         std::int64_t max_tokens) {
    const std::int64_t longest = *std::max_element(chunks.begin(), chunks.end());
    Workspace scratch(backend, layer->scratch_bytes(longest, max_tokens));
    ExecutionContext context{backend, scratch, trace, route, 0, prefill_end};
    std::vector<float> result;
    std::int64_t done = 0;
    for (const std::int64_t n : chunks) {
      const auto piece = std::span(x).subspan(static_cast<std::size_t>(done * kHidden),
                                              static_cast<std::size_t>(n * kHidden));
      const std::vector<float> mixed = call(state, piece, context);
      result.insert(result.end(), mixed.begin(), mixed.end());
      done += n;
    }
    return result;
  }
  std::vector<float> run(const std::vector<float>& x, const std::vector<std::int64_t>& chunks) {
    const auto n = static_cast<std::int64_t>(x.size()) / kHidden;
    const auto state = layer->new_state(n);
    return run(*state, x, chunks, n, n);
  }

  /// The weights as the device holds them.
  ReferenceWeights reference() const {
    return [this](const std::string& name, std::int64_t rows, std::int64_t cols) {
      return widened(rounded_to_bf16(weights.values(name, rows, cols)));
    };
  }

  CudaBackend& backend;
  SeededWeights weights;
  LayerSpec spec;
  std::unique_ptr<AttentionLayer> layer;
  Trace trace;
  RouteLog route;
};

class InfllmV2Layer : public DeviceTest {};

/// Rounding of q, k, v, the attended rows, the gate and the result.
constexpr Bounds kLayer{1.5e-2, 8e-2};

/// Share of rows that agree: two ways of rounding may choose other blocks at a near tie.
template <typename Expected>
double agreeing_rows(const std::vector<float>& actual, const std::vector<Expected>& expected) {
  EXPECT_EQ(actual.size(), expected.size());
  std::int64_t n_rows = 0;
  std::int64_t n_agreeing = 0;
  for (std::size_t row = 0; row < actual.size(); row += kHidden, ++n_rows) {
    double squares = 0;
    double error = 0;
    for (std::size_t i = row; i < row + kHidden; ++i) {
      const auto e = static_cast<double>(expected[i]);
      squares += e * e;
      error += (static_cast<double>(actual[i]) - e) * (static_cast<double>(actual[i]) - e);
    }
    n_agreeing += std::sqrt(error) <= kLayer.frobenius * std::sqrt(squares) ? 1 : 0;
  }
  return static_cast<double>(n_agreeing) / static_cast<double>(n_rows);
}

TEST_F(InfllmV2Layer, dense_rows_equal_reference) {
  DeviceLayer test(*backend_, options());
  for (const std::int64_t n : {1, 2, 17, 64, 129, 500}) {
    SCOPED_TRACE(n);
    const std::vector<float> x = DeviceLayer::input(n);
    expect_within(test.run(x, {n}), dense_reference(test.spec, test.reference(), widened(x)),
                  kLayer);
  }
}

TEST_F(InfllmV2Layer, ranked_rows_equal_reference_but_for_near_ties) {
  for (const char* lse : {"approx", "exact"}) {
    SCOPED_TRACE(lse);
    DeviceLayer test(*backend_, options({{"lse", lse}}));
    const std::vector<float> x = DeviceLayer::input(700);
    const InfllmV2Reference expected =
        infllm_v2_reference(test.spec, test.reference(), widened(x), 700);
    EXPECT_GE(agreeing_rows(test.run(x, {700}), expected.out), 0.85);
    EXPECT_LT(
        agreeing_rows(test.run(x, {700}), dense_reference(test.spec, test.reference(), widened(x))),
        0.85);
  }
}

TEST_F(InfllmV2Layer, chunks_and_steps_equal_one_call_but_for_near_ties) {
  DeviceLayer test(*backend_, options({{"dense_rule", "row"}}, 600));
  const std::vector<float> x = DeviceLayer::input(700);
  const std::vector<float> whole = run_twice([&] { return test.run(x, {700}); });
  EXPECT_GE(agreeing_rows(test.run(x, {128, 256, 256, 60}), whole), 0.95);
  EXPECT_GE(agreeing_rows(test.run(x, {1, 37, 500, 9, 153}), whole), 0.95);
  std::vector<std::int64_t> steps{590};
  steps.resize(111, 1);
  EXPECT_GE(agreeing_rows(test.run(x, steps), whole), 0.95);
}

TEST_F(InfllmV2Layer, sparse_off_is_dense_at_every_length) {
  DeviceLayer test(*backend_, options({{"sparse_on", false}}));
  const std::vector<float> x = DeviceLayer::input(700);
  std::vector<std::int64_t> chunks{690};
  chunks.resize(11, 1);
  expect_within(test.run(x, chunks), dense_reference(test.spec, test.reference(), widened(x)),
                kLayer);
}

TEST_F(InfllmV2Layer, clone_clear_and_continue_are_exact) {
  DeviceLayer test(*backend_, options());
  const std::vector<float> x = DeviceLayer::input(700);
  const std::vector<float> head(x.begin(), x.begin() + 601 * kHidden);
  const std::vector<float> tail(x.begin() + 601 * kHidden, x.end());
  const auto state = test.layer->new_state(700);
  const auto first = test.run(*state, head, {601}, 700, 700);
  const auto clone = state->clone();
  const auto rest = test.run(*state, tail, {97, 1, 1}, 700, 700);
  EXPECT_EQ(clone->length(), 601);
  EXPECT_EQ(test.run(*clone, tail, {97, 1, 1}, 700, 700), rest);
  state->clear();
  EXPECT_EQ(state->length(), 0);
  EXPECT_EQ(test.run(*state, head, {601}, 700, 700), first);
  EXPECT_EQ(test.run(*state, tail, {97, 1, 1}, 700, 700), rest);
}

TEST_F(InfllmV2Layer, a_recorded_step_serves_every_later_position_and_other_prompts) {
  DeviceLayer test(*backend_, options({}, 640));
  const std::vector<float> x = DeviceLayer::input(700);
  const auto state = test.layer->new_state(700);
  Workspace scratch(*backend_, test.layer->scratch_bytes(1, 700));
  const DeviceMatrix in(1, kHidden);
  const DeviceMatrix out(1, kHidden);
  std::unique_ptr<Recording> recording;
  // The second prompt is long enough to be sparse as a whole, the first is not.
  for (const std::int64_t prompt : {600, 641, 600}) {
    SCOPED_TRACE(prompt);
    ExecutionContext context{*backend_, scratch, test.trace, test.route, 0, prompt};
    state->clear();
    std::vector<float> expected;
    {
      const auto other = test.layer->new_state(700);
      std::vector<std::int64_t> chunks{prompt};
      chunks.resize(static_cast<std::size_t>(701 - prompt), 1);
      expected = test.run(*other, x, chunks, prompt, 700);
    }
    const std::vector<float> head(x.begin(), x.begin() + prompt * kHidden);
    test.run(*state, head, {prompt}, prompt, 700);
    for (std::int64_t t = prompt; t < 700; ++t) {
      backend_->set_position(t);
      std::vector<float> token(x.begin() + t * kHidden, x.begin() + (t + 1) * kHidden);
      const Tensor uploaded =
          backend_->upload({token.data(), DType::f32, 1, kHidden}, "activations");
      backend_->copy(uploaded.view, in.view());
      backend_->fill_zero(out.view());
      if (!recording) {
        recording = backend_->record(
            [&] { test.layer->forward(in.view(), *state, kScale, out.view(), context); });
        if (!recording) GTEST_SKIP() << "this device does not record";
      } else {
        test.layer->replayed(*state, context);
      }
      recording->run();
      const std::vector<float> mixed = out.values();
      for (std::int64_t c = 0; c < kHidden; ++c) {
        ASSERT_EQ(mixed[static_cast<std::size_t>(c)] / kScale,
                  expected[static_cast<std::size_t>(t * kHidden + c)])
            << "position " << t;
      }
      EXPECT_EQ(state->length(), t + 1);
    }
  }
}

TEST_F(InfllmV2Layer, state_takes_the_bytes_it_announces) {
  DeviceLayer test(*backend_, options());
  for (const std::int64_t n : {1, 31, 64, 65, 4096}) {
    const std::int64_t before = backend_->ledger().live_bytes();
    const auto state = test.layer->new_state(n);
    std::int64_t planned = 0;
    for (const CategoryBytes& part : test.layer->state_bytes(n)) planned += part.bytes;
    const std::int64_t held = backend_->ledger().live_bytes() - before;
    EXPECT_GE(held, planned);
    EXPECT_LE(held, planned + 4 * 512);
  }
}

TEST_F(InfllmV2Layer, routes_name_kernels_and_count_blocks) {
  DeviceLayer test(*backend_, options({}, 600));
  const std::vector<float> x = DeviceLayer::input(620);
  const auto state = test.layer->new_state(620);
  test.run(*state, x, {619, 1}, 620, 620);
  ASSERT_EQ(test.route.entries().size(), 2U);
  std::int64_t read = 0;
  std::int64_t visible = 0;
  for (std::int64_t t = 0; t < 619; ++t) {
    visible += 2 * (t / 64 + 1);
    read += 2 * std::min<std::int64_t>(t / 64 + 1, 8);
  }
  const RouteEntry& tiles = test.route.entries()[0];
  EXPECT_EQ(tiles.path, "sparse");
  EXPECT_EQ(tiles.kernel, cuda::is_hopper(backend_->properties()) ? "infllm_v2_tiles_hopper"
                                                                  : "infllm_v2_tiles_cuda");
  EXPECT_EQ(tiles.blocks_read, read);
  EXPECT_EQ(tiles.blocks_visible, visible);
  const RouteEntry& step = test.route.entries()[1];
  EXPECT_EQ(step.kernel, "infllm_v2_step_cuda");
  EXPECT_EQ(step.blocks_read, 16);
  EXPECT_EQ(step.blocks_visible, 20);
  test.route.clear();
  test.run(DeviceLayer::input(599), {599});
  ASSERT_EQ(test.route.entries().size(), 1U);
  EXPECT_EQ(test.route.entries()[0].path, "dense");
}

TEST_F(InfllmV2Layer, options_without_a_kernel_are_refused_by_name) {
  const auto refused = [&](const nlohmann::json& more, const char* text) {
    expect_error([&] { DeviceLayer(*backend_, options(more)); }, {text});
  };
  refused({{"head_dim", 80}}, "head_dim");
  refused({{"n_heads", 64}}, "n_heads / n_kv_heads");
  refused({{"select_score", "fp32"}}, "select_score");
  nlohmann::json sparse = options()["sparse"];
  sparse["topk"] = 4000;
  refused({{"sparse", sparse}}, "topk");
  sparse = options()["sparse"];
  sparse.update({{"kernel_size", 8}, {"kernel_stride", 4}, {"block_size", 16}});
  refused({{"sparse", sparse}}, "kernel_stride");
  DeviceLayer test(*backend_, options());
  expect_error([&] { test.layer->new_state(std::int64_t{1} << 22); }, {"at most 2097152 tokens"});
}

}  // namespace
}  // namespace sala::testing
