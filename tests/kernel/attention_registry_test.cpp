// The table of kinds, and mistakes in options.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/attention/attention.h"
#include "engine/base/error.h"
#include "tests/random_weights.h"

namespace sala::testing {
namespace {

nlohmann::json good_options() {
  return {{"n_heads", 4},
          {"n_kv_heads", 2},
          {"head_dim", 16},
          {"scale", 0.25},
          {"rms_norm_eps", 1e-6},
          {"rope", nullptr},
          {"sparse",
           {{"kernel_size", 8},
            {"kernel_stride", 4},
            {"init_blocks", 1},
            {"block_size", 16},
            {"window_size", 32},
            {"topk", 4},
            {"dense_len", 0}}}};
}

std::string message(const std::string& kind, const nlohmann::json& options) {
  const auto backend = make_backend("cpu", 1);
  SeededWeights weights(1, *backend);
  try {
    make_attention({kind, options, "model.layers.3.", 8}, weights, *backend);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(AttentionRegistry, kinds_are_sorted_unique_and_can_be_made) {
  const auto kinds = attention_kinds();
  EXPECT_TRUE(std::is_sorted(kinds.begin(), kinds.end()));
  EXPECT_EQ(std::adjacent_find(kinds.begin(), kinds.end()), kinds.end());
  for (const auto kind : kinds) EXPECT_EQ(message(std::string(kind), good_options()), "");
}

TEST(AttentionRegistry, an_unknown_kind_lists_the_known_ones) {
  const std::string text = message("mamba", good_options());
  EXPECT_NE(text.find("'mamba'"), std::string::npos) << text;
  EXPECT_NE(text.find("dense, infllm_v2, lightning"), std::string::npos) << text;
}

TEST(AttentionRegistry, mistakes_in_options_name_layer_and_option) {
  const std::pair<const char*, nlohmann::json> mistakes[] = {
      {"n_heads", nullptr},
      {"n_heads", 0},
      {"n_heads", "4"},
      {"n_kv_heads", 3},
      {"head_dim", 15},
      {"scale", -1.0},
      {"rope", {{"theta", 0}}},
      {"rope", {{"base", 1}}},
      {"qk_norm", 1},
      {"lse", "none"},
      {"rms_norm_eps", "x"},
      {"surprise", 1},
      {"sparse", nullptr},
      {"sparse", 7},
      {"rope", {{"theta", 1.0}, {"slowdown", {1, 2}}}}};
  for (const auto& [name, value] : mistakes) {
    nlohmann::json options = good_options();
    options[name] = value;
    const std::string text = message("infllm_v2", options);
    EXPECT_NE(text.find("model.layers.3."), std::string::npos) << name << ": " << text;
  }
  const std::pair<const char*, int> sparse_mistakes[] = {{"kernel_size", 7},
                                                         {"block_size", 32},
                                                         {"window_size", 40},
                                                         {"topk", 1},
                                                         {"kernel_stride", 0}};
  for (const auto& [name, value] : sparse_mistakes) {
    nlohmann::json options = good_options();
    options["sparse"][name] = value;
    EXPECT_NE(message("infllm_v2", options), "") << name;
    EXPECT_EQ(message("dense", options), "") << "another kind's options are not read";
  }
}

}  // namespace
}  // namespace sala::testing
