// The linear-attention layer on the GPU against fp64, and the laws of its state.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/lightning/cuda/lightning_cuda.h"

#include "engine/attention/lightning/lightning.h"
#include "tests/kernel/cuda/layer_on_device.h"

namespace sala::testing {
namespace {

nlohmann::json options(std::int64_t n_heads, std::int64_t n_kv_heads, std::int64_t head_dim,
                       bool extras = true) {
  nlohmann::json json = {{"n_heads", n_heads},    {"n_kv_heads", n_kv_heads},
                         {"head_dim", head_dim},  {"scale", 1.0 / std::sqrt(head_dim)},
                         {"rms_norm_eps", 1e-6},  {"rope", nullptr},
                         {"output_gate", extras}, {"qk_norm", extras},
                         {"output_norm", extras}};
  if (extras) json["rope"] = {{"theta", 10000.0}};
  return json;
}

class LightningLayer : public DeviceTest {
 protected:
  LayerOnDevice layer(nlohmann::json json) {
    return {*backend_, "lightning", std::move(json), make_lightning_cuda};
  }
};

TEST_F(LightningLayer, equals_the_reference_for_every_head_layout) {
  for (const auto& [n_heads, n_kv_heads, head_dim] :
       {std::tuple{2, 2, 64}, {4, 2, 64}, {2, 2, 128}}) {
    for (const bool extras : {false, true}) {
      SCOPED_TRACE(n_heads * 1000 + n_kv_heads * 100 + extras);
      LayerOnDevice test = layer(options(n_heads, n_kv_heads, head_dim, extras));
      const std::vector<float> x = LayerOnDevice::input(150);
      const std::vector<double> expected =
          lightning_reference(test.spec, test.reference(), widened(x));
      expect_within(test.run(x, {150}), expected, kLayerBounds);
      expect_within(test.run(x, {100, 1, 49}), expected, kLayerBounds);
    }
  }
}

TEST_F(LightningLayer, decode_equals_prefill) {
  LayerOnDevice test = layer(options(4, 4, 64));
  const std::vector<float> x = LayerOnDevice::input(90);
  std::vector<std::int64_t> chunks{60};
  chunks.resize(31, 1);
  expect_within(test.run(x, chunks), test.run(x, {90}), kLayerBounds);
}

TEST_F(LightningLayer, clone_clear_and_continue_are_exact) {
  LayerOnDevice test = layer(options(4, 4, 64));
  test.expect_state_laws(130);
}

TEST_F(LightningLayer, state_takes_the_bytes_it_announces) {
  LayerOnDevice test = layer(options(4, 4, 64));
  test.expect_planned_bytes(1);
  test.expect_planned_bytes(1 << 20);
}

TEST_F(LightningLayer, a_recorded_step_serves_later_positions) {
  LayerOnDevice test = layer(options(4, 4, 64));
  test.expect_recording_serves_later_positions(70, 3);
}

TEST_F(LightningLayer, route_names_what_ran) {
  LayerOnDevice test = layer(options(4, 4, 64));
  test.run(LayerOnDevice::input(21), {20, 1});
  ASSERT_EQ(test.route.entries().size(), 2U);
  EXPECT_EQ(test.route.entries()[0].path, "linear");
  EXPECT_EQ(test.route.entries()[0].kernel, "lightning_segments_cuda");
  EXPECT_EQ(test.route.entries()[1].kernel, "lightning_step_cuda");
}

TEST_F(LightningLayer, refuses_what_has_no_kernel) {
  EXPECT_THROW(layer(options(4, 4, 80)), Error);
  EXPECT_THROW(layer(options(512, 512, 64)), Error);
}

}  // namespace
}  // namespace sala::testing
