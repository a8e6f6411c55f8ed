// The engine's logits against a whole model in plain double precision.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/engine.h"
#include "tests/reference_model.h"
#include "tests/tiny_model.h"
#include "tests/tolerance.h"

namespace sala::testing {
namespace {

/// Largest difference over the largest reference value.
double relative_error(const std::vector<float>& got, const Rows& expected) {
  double error = 0;
  double top = 0;
  std::size_t i = 0;
  for (const Row& row : expected) {
    for (const double value : row) {
      top = std::max(top, std::abs(value));
      const double difference = std::abs(static_cast<double>(got.at(i++)) - value);
      error = std::isfinite(difference) ? std::max(error, difference) : INFINITY;
    }
  }
  return i == got.size() ? error / top : INFINITY;
}

using SettingMap = std::map<std::string, std::string>;

double engine_error(const TinyOptions& options, std::int64_t n_tokens,
                    const SettingMap& settings = {}) {
  const TempFolder folder;
  const TinyModel model = write_tiny_model(folder.path(), options);
  EngineOptions engine_options;
  engine_options.model = folder.path();
  engine_options.chunk = 64;
  engine_options.threads = 1;  // many small products: threads would only wait for each other
  engine_options.settings = settings;
  const auto ids = random_ids(n_tokens, options.vocab, 7);
  ReferenceModel reference(model);
  const auto is = [&](const char* key, const char* value) {
    const auto found = settings.find(key);
    return found != settings.end() && found->second == value;
  };
  reference.dense_rule_row = is("dense_rule", "row");
  reference.sparse_on = !is("sparse", "off");
  reference.exact_lse = is("lse", "exact");
  reference.fp32_scores = is("select_score", "fp32");
  return relative_error(make_engine(engine_options)->logits(ids, 0), reference.logits(ids));
}

TEST(EngineReference, hybrid_equals_double_precision_model) {
  for (const std::int64_t n : {1, 31, 65, 127, 250}) {
    EXPECT_LT(engine_error({}, n), tolerance::kModel) << n << " tokens";
  }
}

TEST(EngineReference, every_sparse_option_equals_double_precision_model) {
  for (const SettingMap& settings :
       {SettingMap{{"dense_rule", "row"}}, SettingMap{{"sparse", "off"}},
        SettingMap{{"lse", "exact"}}, SettingMap{{"select_score", "fp32"}}}) {
    EXPECT_LT(engine_error({}, 230, settings), tolerance::kModel) << settings.begin()->first;
  }
}

TEST(EngineReference, sparse_and_dense_models_differ) {
  // Without this the comparisons above could pass with sparsity never reached.
  const TempFolder folder;
  const TinyModel model = write_tiny_model(folder.path());
  ReferenceModel sparse(model);
  ReferenceModel dense(model);
  dense.sparse_on = false;
  const auto ids = random_ids(200, 300, 7);
  const Rows a = sparse.logits(ids);
  const Rows b = dense.logits(ids);
  EXPECT_EQ(a[95], b[95]);
  EXPECT_GT(std::abs(a[199][0] - b[199][0]), 1e-3);
}

TEST(EngineReference, tied_head_equals_double_precision_model) {
  TinyOptions options;
  options.tied = true;
  EXPECT_LT(engine_error(options, 100), tolerance::kModel);
}

TEST(EngineReference, grouped_heads_equal_double_precision_model) {
  TinyOptions options;
  options.n_heads = 8;
  options.n_kv_heads = 1;
  options.lightning_nkv = 2;
  options.attn_use_rope = true;
  EXPECT_LT(engine_error(options, 200), tolerance::kModel);
}

TEST(EngineReference, minicpm4_equals_double_precision_model) {
  TinyOptions options;
  options.family = "minicpm4";
  EXPECT_LT(engine_error(options, 200), tolerance::kModel) << "sparse";
  options.sparse = false;
  EXPECT_LT(engine_error(options, 130), tolerance::kModel) << "dense";
}

TEST(EngineReference, longrope_equals_double_precision_model) {
  TinyOptions options;
  options.family = "minicpm4";
  const nlohmann::json factors = {0.998, 1.3, 2.5, 6.0, 13.0, 21.0, 29.0, 31.0};
  options.changes = {{"max_position_embeddings", 512},
                     {"rope_scaling",
                      {{"rope_type", "longrope"},
                       {"long_factor", factors},
                       {"short_factor", factors},
                       {"original_max_position_embeddings", 64}}}};
  EXPECT_LT(engine_error(options, 200), tolerance::kModel) << "sparse";
  options.sparse = false;
  EXPECT_LT(engine_error(options, 130), tolerance::kModel) << "dense";
}

TEST(EngineReference, qwen3_equals_double_precision_model) {
  TinyOptions options;
  options.family = "qwen3";
  options.changes["rope_theta"] = 1e6;
  EXPECT_LT(engine_error(options, 130), tolerance::kModel);
}

TEST(EngineReference, scaled_qwen3_equals_double_precision_model) {
  TinyOptions options;
  options.family = "qwen3";
  options.changes["rope_scaling"] = {
      {"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 64}};
  EXPECT_LT(engine_error(options, 200), tolerance::kModel);
}

TEST(EngineReference, llama_equals_double_precision_model) {
  TinyOptions options;
  options.family = "llama";
  EXPECT_LT(engine_error(options, 130), tolerance::kModel) << "Llama 2";
  options.tied = true;
  // Eight pairs of wavelengths 6 to 20,000 around the bands at 16 and 64.
  options.changes["rope_scaling"] = {{"rope_type", "llama3"},
                                     {"factor", 8.0},
                                     {"low_freq_factor", 1.0},
                                     {"high_freq_factor", 4.0},
                                     {"original_max_position_embeddings", 64}};
  EXPECT_LT(engine_error(options, 200), tolerance::kModel) << "Llama 3";
}

TEST(EngineReference, every_weight_dtype_equals_double_precision_model) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    TinyOptions options;
    options.dtype = dtype;
    EXPECT_LT(engine_error(options, 70), tolerance::kModel) << dtype_name(dtype);
  }
}

TEST(EngineReference, query_and_key_norms_of_softmax_layers_are_used_when_stored) {
  const TempFolder folder;
  TinyOptions options;
  options.sparse = false;
  TinyModel model;
  model.config = tiny_config(options);
  auto tensors = tiny_tensors(options, model);
  const auto ids = random_ids(20, options.vocab, 3);
  const auto engine_logits = [&] {
    write_file(folder.path() / "config.json", model.config.dump());
    write_safetensors(folder.path() / "model.safetensors", tensors);
    EngineOptions engine_options;
    engine_options.model = folder.path();
    engine_options.threads = 1;
    return make_engine(engine_options)->logits(ids, 1);
  };
  const auto without = engine_logits();
  for (const char* name : {"q_norm", "k_norm"}) {
    TensorToWrite norm{fmt::format("model.layers.0.self_attn.{}.weight", name),
                       DType::f32,
                       {options.head_dim},
                       {}};
    for (std::int64_t i = 0; i < options.head_dim; ++i) store_value(2, DType::f32, norm.bytes);
    tensors.push_back(norm);
  }
  EXPECT_NE(engine_logits(), without);
}

}  // namespace
}  // namespace sala::testing
