// The full-attention layer on the GPU against fp64, and the laws of its state.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/dense/cuda/dense_cuda.h"

#include "engine/attention/dense/dense.h"
#include "tests/kernel/cuda/layer_on_device.h"

namespace sala::testing {
namespace {

nlohmann::json options(std::int64_t n_heads, std::int64_t n_kv_heads, std::int64_t head_dim,
                       bool extras = false) {
  nlohmann::json json = {{"n_heads", n_heads},    {"n_kv_heads", n_kv_heads},
                         {"head_dim", head_dim},  {"scale", 1.0 / std::sqrt(head_dim)},
                         {"rms_norm_eps", 1e-6},  {"rope", nullptr},
                         {"output_gate", extras}, {"qk_norm", extras}};
  if (extras) json["rope"] = {{"theta", 1e6}};
  return json;
}

class DenseLayer : public DeviceTest {
 protected:
  LayerOnDevice layer(nlohmann::json json) {
    return {*backend_, "dense", std::move(json), make_dense_cuda};
  }
};

TEST_F(DenseLayer, equals_the_reference_for_every_head_layout) {
  for (const auto& [n_heads, n_kv_heads, head_dim] :
       {std::tuple{2, 2, 64}, {8, 2, 64}, {16, 1, 64}, {4, 1, 128}}) {
    for (const bool extras : {false, true}) {
      SCOPED_TRACE(n_heads * 1000 + n_kv_heads * 100 + extras);
      LayerOnDevice test = layer(options(n_heads, n_kv_heads, head_dim, extras));
      const std::vector<float> x = LayerOnDevice::input(150);
      const std::vector<double> expected = dense_reference(test.spec, test.reference(), widened(x));
      expect_within(test.run(x, {150}), expected, kLayerBounds);
      expect_within(test.run(x, {100, 1, 49}), expected, kLayerBounds);
    }
  }
}

TEST_F(DenseLayer, decode_equals_prefill) {
  LayerOnDevice test = layer(options(8, 2, 64, true));
  const std::vector<float> x = LayerOnDevice::input(300);
  std::vector<std::int64_t> chunks{280};
  chunks.resize(21, 1);
  expect_within(test.run(x, chunks), test.run(x, {300}), kLayerBounds);
}

TEST_F(DenseLayer, a_long_chunk_equals_short_ones) {
  // The long one goes through cuDNN where there is one.
  LayerOnDevice test = layer(options(4, 2, 64));
  const std::vector<float> x = LayerOnDevice::input(2500);
  expect_within(test.run(x, {2500}), test.run(x, {1000, 1000, 500}), kLayerBounds);
}

TEST_F(DenseLayer, clone_clear_and_continue_are_exact) {
  LayerOnDevice test = layer(options(4, 2, 64));
  test.expect_state_laws(130);
}

TEST_F(DenseLayer, state_takes_the_bytes_it_announces) {
  LayerOnDevice test = layer(options(4, 2, 64));
  for (const std::int64_t n : {1, 64, 65, 4096, 5000}) test.expect_planned_bytes(n);
  EXPECT_EQ(test.layer->state_bytes(4096).at(0).category, "kv_full");
  EXPECT_EQ(test.layer->state_bytes(4096).at(0).bytes, 4096 * 2 * 2 * 64 * 2);
}

TEST_F(DenseLayer, a_full_state_refuses_more) {
  LayerOnDevice test = layer(options(4, 2, 64));
  const auto state = test.layer->new_state(10);
  test.run(*state, LayerOnDevice::input(10), {10}, 10);
  EXPECT_THROW(test.run(*state, LayerOnDevice::input(1), {1}, 11), Error);
}

TEST_F(DenseLayer, a_recorded_step_serves_later_positions) {
  LayerOnDevice test = layer(options(8, 2, 64, true));
  test.expect_recording_serves_later_positions(254, 4);
}

TEST_F(DenseLayer, route_names_what_ran) {
  LayerOnDevice test = layer(options(4, 2, 64));
  test.run(LayerOnDevice::input(131), {130, 1});
  ASSERT_EQ(test.route.entries().size(), 2U);
  const RouteEntry& entry = test.route.entries().front();
  EXPECT_EQ(entry.path, "dense");
  EXPECT_EQ(entry.kernel, "softmax_tiles_cuda");
  EXPECT_EQ(entry.blocks_read, 2 * (64 * 1 + 64 * 2 + 2 * 3)) << "blocks of 64 keys";
  EXPECT_EQ(entry.blocks_visible, entry.blocks_read);
  EXPECT_EQ(test.route.entries()[1].kernel, "softmax_step_cuda");
}

TEST_F(DenseLayer, refuses_what_has_no_kernel) {
  EXPECT_THROW(layer(options(4, 2, 80)), Error);
  EXPECT_THROW(layer(options(17, 1, 64)), Error);
}

}  // namespace
}  // namespace sala::testing
