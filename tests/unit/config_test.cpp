// From config.json to ModelConfig: values of the real model, and every refusal names file and
// field. SPDX-License-Identifier: Apache-2.0
#include "engine/model/config.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/base/data_dir.h"
#include "engine/base/mapped_file.h"
#include "engine/memory_plan.h"
#include "tests/expect_error.h"
#include "tests/tiny_model.h"

namespace sala::testing {
namespace {

using nlohmann::json;

class Config : public ::testing::Test {
 protected:
  ModelConfig read(const json& config, const std::map<std::string, std::string>& settings = {},
                   const std::string& attention = "model") const {
    write_file(folder_.path() / "config.json", config.dump());
    return read_model_config(folder_.path(), Settings::parse(settings), attention);
  }
  void expect_refused(const json& config, std::initializer_list<std::string> parts) const {
    expect_error([&] { read(config); }, {"config.json"});
    expect_error([&] { read(config); }, parts);
  }
  static json preset(const std::string& name) {
    return json::parse(read_text_file(data_dir() / "configs" / name / "config.json"));
  }
  static json sala_9b() { return preset("minicpm-sala-9b"); }
  TempFolder folder_;
};

TEST_F(Config, minicpm_sala_9b_has_the_published_size) {
  const ModelConfig config = read(sala_9b());
  const auto backend = make_backend("cpu", 1);
  const Blueprint blueprint(config, *backend);
  EXPECT_EQ(blueprint.n_parameters(), 9'477'203'968);
  EXPECT_EQ(blueprint.tensors().size(), 395U);
  EXPECT_NEAR(config.residual_scale, 0.2474873734152916, 1e-8);
  EXPECT_EQ(config.logit_divisor, 16);
  EXPECT_EQ(config.eos, (std::vector<TokenId>{2, 73440}));

  const auto cache = [&](std::int64_t n_tokens) {
    std::int64_t bytes = 0;
    for (const CategoryBytes& row : in_bf16(blueprint.plan(n_tokens, 1024, 1))) {
      if (row.category == "kv_sparse" || row.category == "sparse_index") bytes += row.bytes;
      if (row.category == "linear_state") {
        EXPECT_EQ(row.bytes, 50'331'648);
      }
    }
    return bytes;
  };
  EXPECT_EQ((cache(2 << 20) - cache(1 << 20)) >> 20, 8512);
}

TEST_F(Config, qwen3_8b_has_the_published_size) {
  const ModelConfig config = read(preset("qwen3-8b"));
  const auto backend = make_backend("cpu", 1);
  const Blueprint blueprint(config, *backend);
  EXPECT_EQ(blueprint.n_parameters(), 8'190'735'360);
  EXPECT_FALSE(config.is_hybrid());
  EXPECT_EQ(config.residual_scale, 1);
  EXPECT_EQ(config.logit_divisor, 1);
  EXPECT_EQ(config.layers[35].options["rope"]["theta"], 1e6);
  EXPECT_EQ(config.layers[35].options["qk_norm"], true);
  const auto cache = [&](std::int64_t n_tokens) {
    const auto plan = in_bf16(blueprint.plan(n_tokens, 1024, 1));
    return std::find_if(plan.begin(), plan.end(),
                        [](const CategoryBytes& row) { return row.category == "kv_full"; })
        ->bytes;
  };
  EXPECT_EQ((cache(2 << 20) - cache(1 << 20)) >> 20, 147'456);
}

TEST_F(Config, layers_get_the_options_of_their_kind) {
  const ModelConfig config = read(sala_9b());
  ASSERT_EQ(config.layers.size(), 32U);
  const LayerSpec& sparse = config.layers[9];
  EXPECT_EQ(sparse.kind, "infllm_v2");
  EXPECT_EQ(sparse.prefix, "model.layers.9.self_attn.");
  EXPECT_TRUE(sparse.options["rope"].is_null());
  EXPECT_EQ(sparse.options["output_gate"], true);
  EXPECT_EQ(sparse.options["qk_norm"], false);
  EXPECT_EQ(sparse.options["sparse"]["topk"], 64);
  EXPECT_EQ(sparse.options["dense_rule"], "request");
  const LayerSpec& linear = config.layers[10];
  EXPECT_EQ(linear.kind, "lightning");
  EXPECT_EQ(linear.options["rope"]["theta"], 10000.0);
  EXPECT_EQ(linear.options["qk_norm"], true);
  EXPECT_DOUBLE_EQ(linear.options["scale"].get<double>(), 1 / std::sqrt(128.0));
  EXPECT_TRUE(config.is_hybrid());
}

TEST_F(Config, minicpm4_8b_has_the_published_size_and_slows_its_pairs) {
  const ModelConfig config = read(preset("minicpm4-8b"));
  const auto backend = make_backend("cpu", 1);
  EXPECT_EQ(Blueprint(config, *backend).n_parameters(), 8'185'253'888);
  EXPECT_FALSE(config.is_hybrid());
  EXPECT_EQ(config.layers.size(), 32U);
  const json& rope = config.layers[0].options["rope"];
  ASSERT_EQ(rope["slowdown"].size(), 64U);
  EXPECT_NEAR(rope["slowdown"].front().get<double>(), 0.9977997, 1e-7);
  EXPECT_NEAR(rope["slowdown"].back().get<double>(), 31.0239231, 1e-7);
  EXPECT_EQ(rope["magnitude"], 1.0);

  json sparse = preset("minicpm4-8b");
  sparse["sparse_config"] = sala_9b()["sparse_config"];
  EXPECT_TRUE(read(sparse).is_hybrid());
}

TEST_F(Config, longrope_beyond_its_training_length_turns_with_a_greater_magnitude) {
  json config = preset("minicpm4-8b");
  config["max_position_embeddings"] = 131072;
  EXPECT_NEAR(read(config).layers[0].options["rope"]["magnitude"].get<double>(),
              std::sqrt(17.0 / 15.0), 1e-12);
}

TEST_F(Config, longrope_that_is_not_as_published_is_refused) {
  const auto with = [](const char* field, const json& value) {
    json config = preset("minicpm4-8b");
    config["rope_scaling"][field] = value;
    return config;
  };
  expect_refused(with("rope_type", "yarn"), {"'rope_scaling.rope_type'", "yarn", "longrope"});
  expect_refused(with("long_factor", {1.0, 2.0}), {"'rope_scaling.long_factor'", "64"});
  expect_refused(with("long_factor", 1.0), {"'rope_scaling.long_factor'"});
  expect_refused(with("long_factor", json(64, -1.0)), {"'rope_scaling.long_factor'", "positive"});
  expect_refused(with("long_factor", nullptr), {"'rope_scaling.long_factor'", "missing"});
  expect_refused(with("short_factor", json(64, 1.0)), {"'rope_scaling.short_factor'", "differs"});
  expect_refused(with("original_max_position_embeddings", 1),
                 {"'rope_scaling.original_max_position_embeddings'"});
  expect_refused(with("factor", 4.0), {"rope_scaling.factor"});
  json config = sala_9b();
  config["rope_scaling"] = preset("minicpm4-8b")["rope_scaling"];
  expect_refused(config, {"'rope_scaling.rope_type'", "longrope", "default"});
}

TEST_F(Config, llama_3_8b_has_the_published_size_and_slows_its_long_waves) {
  const ModelConfig config = read(preset("llama-3.1-8b"));
  const auto backend = make_backend("cpu", 1);
  EXPECT_EQ(Blueprint(config, *backend).n_parameters(), 8'030'261'248);
  EXPECT_EQ(config.family, "llama");
  EXPECT_EQ(config.layers[31].kind, "dense");
  EXPECT_EQ(config.layers[31].options["qk_norm"], false);
  const json& rope = config.layers[0].options["rope"];
  EXPECT_EQ(rope["theta"], 500000.0);
  const auto slowdown = rope["slowdown"].get<std::vector<double>>();
  ASSERT_EQ(slowdown.size(), 64U);
  for (std::size_t i = 0; i < slowdown.size(); ++i) {
    const double wave = 2 * M_PI * std::pow(500000.0, static_cast<double>(i) / 64);
    if (wave < 2048) {
      EXPECT_DOUBLE_EQ(slowdown[i], 1) << i;
    } else if (wave > 8192) {
      EXPECT_DOUBLE_EQ(slowdown[i], 8) << i;
    } else {
      const double u = (8192 / wave - 1) / 3;
      EXPECT_NEAR(1 / slowdown[i], (1 - u) / 8 + u, 1e-12) << i;
    }
  }
}

TEST_F(Config, llama_2_leaves_out_what_its_class_says) {
  TinyOptions options;
  options.family = "llama";
  json config = tiny_config(options);
  config.erase("rope_theta");
  config.erase("head_dim");
  config["hidden_size"] = 64;
  const ModelConfig read_config = read(config);
  EXPECT_EQ(read_config.layers[0].options["rope"]["theta"], 10000.0);
  EXPECT_EQ(read_config.layers[0].options["head_dim"], 16);
  EXPECT_FALSE(read_config.layers[0].options["rope"].contains("slowdown"));
  config["hidden_size"] = 66;
  expect_refused(config, {"'num_attention_heads'", "head_dim"});
}

TEST_F(Config, yarn_slows_the_published_pairs) {
  json config = preset("qwen3-8b");
  config["rope_scaling"] = {
      {"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32768}};
  const json rope = read(config).layers[0].options["rope"];
  const auto slowdown = rope["slowdown"].get<std::vector<double>>();
  ASSERT_EQ(slowdown.size(), 64U);
  for (std::size_t i = 0; i < slowdown.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - 23) / 17, 0.0, 1.0);
    EXPECT_NEAR(1 / slowdown[i], 1 - ramp + ramp / 4, 1e-12) << i;
  }
  EXPECT_NEAR(rope["magnitude"].get<double>(), 1.138629, 1e-6);
}

TEST_F(Config, scalings_of_other_families_and_broken_ones_are_refused) {
  const json llama3 = preset("llama-3.1-8b")["rope_scaling"];
  json config = preset("qwen3-8b");
  config["rope_scaling"] = llama3;
  expect_refused(config, {"'rope_scaling.rope_type'", "llama3", "default or yarn"});
  const auto with = [&](const char* field, const json& value) {
    json changed = preset("llama-3.1-8b");
    changed["rope_scaling"][field] = value;
    return changed;
  };
  expect_refused(with("rope_type", "dynamic"), {"'rope_scaling.rope_type'", "dynamic", "llama3"});
  expect_refused(with("type", "yarn"), {"'rope_scaling.type'", "yarn"});
  expect_refused(with("factor", nullptr), {"'rope_scaling.factor'", "missing"});
  expect_refused(with("factor", 0), {"'rope_scaling.factor'", "positive"});
  expect_refused(with("high_freq_factor", 1), {"'rope_scaling.high_freq_factor'"});
  expect_refused(with("beta_fast", 32), {"rope_scaling.beta_fast"});
  config = preset("llama-3.1-8b");
  config["rope_scaling"] = "llama3";
  expect_refused(config, {"rope_scaling", "not a JSON object"});
  config["rope_scaling"] = {{"type", "default"}};
  EXPECT_FALSE(read(config).layers[0].options["rope"].contains("slowdown"));
  config["rope_theta"] = 0.5;
  expect_refused(config, {"'rope_theta'"});
}

TEST_F(Config, rotary_fields_as_transformers_5_writes_them_mean_the_same) {
  for (const char* name : {"llama-3.1-8b", "minicpm4-8b", "qwen3-8b", "minicpm-sala-9b"}) {
    const json old_form = preset(name);
    json new_form = old_form;
    new_form["rope_parameters"] = old_form["rope_scaling"].is_null()
                                      ? json{{"rope_type", "default"}}
                                      : old_form["rope_scaling"];
    new_form["rope_parameters"]["rope_theta"] = old_form["rope_theta"];
    new_form.erase("rope_scaling");
    new_form.erase("rope_theta");
    const ModelConfig old_config = read(old_form);
    const ModelConfig new_config = read(new_form);
    for (std::size_t i = 0; i < old_config.layers.size(); ++i) {
      ASSERT_EQ(new_config.layers[i].options, old_config.layers[i].options) << name << " " << i;
    }
    new_form["rope_theta"] = 3;
    expect_refused(new_form, {"'rope_theta'", "rope_parameters"});
    new_form.erase("rope_theta");
    new_form["rope_parameters"].erase("rope_theta");
    expect_refused(new_form, {"'rope_parameters.rope_theta'", "missing"});
  }
}

TEST_F(Config, quantized_models_are_refused_by_name) {
  json config = preset("qwen3-8b");
  config["quantization_config"] = {{"quant_method", "gptq"}, {"bits", 4}};
  expect_refused(config, {"'quantization_config'", "gptq", "bf16"});
  config["quantization_config"] = {{"quant_method", "fp8"}};
  expect_refused(config, {"fp8"});
  config["quantization_config"] = {{"quant_method", "bitsandbytes"}, {"load_in_4bit", true}};
  expect_refused(config, {"bitsandbytes"});
  config["quantization_config"] = nullptr;
  EXPECT_NO_THROW(read(config));
  config["compression_config"] = {{"format", "pack-quantized"}};
  expect_refused(config, {"'compression_config'", "quantized"});
  config.erase("compression_config");
  write_file(folder_.path() / "quantize_config.json", "{}");
  expect_error([&] { read(config); }, {"quantize_config.json", "quantized"});
}

TEST_F(Config, a_config_that_leaves_the_head_open_takes_it_from_the_checkpoint) {
  json config = tiny_config({});
  config.erase("tie_word_embeddings");
  for (const bool has_head : {true, false}) {
    ModelConfig read_config = read(config);
    EXPECT_FALSE(read_config.tied_stated);
    adopt_stored_parts(
        read_config, [&](const std::string& name) { return has_head && name == "lm_head.weight"; });
    EXPECT_EQ(read_config.tied, !has_head);
  }
  config["tie_word_embeddings"] = false;
  ModelConfig stated = read(config);
  adopt_stored_parts(stated, [](const std::string&) { return false; });
  EXPECT_FALSE(stated.tied);
}

TEST_F(Config, attention_dense_replaces_sparse_layers_only) {
  const ModelConfig config = read(sala_9b(), {}, "dense");
  EXPECT_EQ(config.layers[0].kind, "dense");
  EXPECT_EQ(config.layers[1].kind, "lightning");
  EXPECT_FALSE(config.layers[0].options.contains("sparse"));
  EXPECT_EQ(config.settings.at("attention"), "dense");
  TinyOptions full;
  full.family = "minicpm4";
  EXPECT_TRUE(read(tiny_config(full)).is_hybrid());
  EXPECT_FALSE(read(tiny_config(full), {}, "dense").is_hybrid());
  expect_error([&] { read(sala_9b(), {}, "none"); }, {"--attention", "model, dense"});
}

TEST_F(Config, every_structural_field_is_required) {
  for (const char* family : {"minicpm_sala", "minicpm4", "qwen3", "llama"}) {
    TinyOptions options;
    options.family = family;
    const json config = tiny_config(options);
    for (const auto& [field, value] : config.items()) {
      json without = config;
      without.erase(field);
      std::set<std::string> optional{"hidden_act",         "rope_scaling", "torch_dtype",
                                     "bos_token_id",       "eos_token_id", "sparse_config",
                                     "tie_word_embeddings"};
      // Published configs of these leave more to their class.
      if (options.family == "minicpm4" || options.family == "llama") {
        optional.insert({"head_dim", "rope_theta"});
      }
      if (optional.contains(field)) {
        EXPECT_NO_THROW(read(without)) << family << " " << field;
      } else {
        expect_refused(without, {"'" + field + "'"});
      }
    }
    if (!config.contains("sparse_config")) continue;
    for (const auto& [field, value] : config["sparse_config"].items()) {
      json without = config;
      without["sparse_config"].erase(field);
      if (field != "use_nope") expect_refused(without, {"'sparse_config." + field + "'"});
    }
  }
}

TEST_F(Config, wrong_types_and_values_name_the_field) {
  const auto with = [](const char* field, const json& value) {
    json config = tiny_config({});
    config[field] = value;
    return config;
  };
  expect_refused(with("hidden_size", "48"), {"'hidden_size'", "integer"});
  expect_refused(with("hidden_size", 0), {"'hidden_size'", "positive"});
  expect_refused(with("vocab_size", std::int64_t{1} << 40), {"'vocab_size'"});
  expect_refused(with("num_hidden_layers", 2147483647), {"'num_hidden_layers'", "1000"});
  expect_refused(with("rms_norm_eps", -1), {"'rms_norm_eps'", "positive"});
  expect_refused(with("qk_norm", 1), {"'qk_norm'", "true or false"});
  expect_refused(with("hidden_act", "gelu"), {"'hidden_act'", "gelu", "silu"});
  expect_refused(with("attention_bias", true), {"'attention_bias'"});
  expect_refused(with("partial_rotary_factor", 0.5), {"'partial_rotary_factor'"});
  TinyOptions sliding;
  sliding.family = "qwen3";
  sliding.changes["use_sliding_window"] = true;
  expect_refused(tiny_config(sliding), {"'use_sliding_window'"});
  sliding.changes["use_sliding_window"] = false;
  sliding.changes["layer_types"] = json(4, "full_attention");
  EXPECT_NO_THROW(read(tiny_config(sliding)));
  sliding.changes["layer_types"][2] = "sliding_attention";
  expect_refused(tiny_config(sliding), {"'layer_types'", "full_attention"});
  expect_refused(with("num_key_value_heads", 3), {"'num_key_value_heads'", "divide"});
  expect_refused(with("lightning_nh", 3), {"'lightning_nkv'", "divide"});
  expect_refused(with("lightning_head_dim", 8), {"'lightning_head_dim'", "head_dim"});
  expect_refused(with("lightning_scale", 1), {"'lightning_scale'"});
  expect_refused(with("eos_token_id", "end"), {"'eos_token_id'"});
  expect_refused(with("eos_token_id", 300), {"'eos_token_id'", "300"});
  expect_refused(with("mixer_types", {"minicpm4"}), {"'mixer_types'", "4 layers"});
  expect_refused(with("mixer_types", {"minicpm4", "mamba", "attn", "attn"}),
                 {"'mixer_types[1]'", "mamba", "lightning-attn"});
  expect_refused(with("sparse_config", 3), {"sparse_config"});
}

TEST_F(Config, sparse_sizes_must_fit_together) {
  const auto with = [](const char* field, const json& value) {
    json config = tiny_config({});
    config["sparse_config"][field] = value;
    return config;
  };
  expect_refused(with("kernel_size", 6), {"'sparse_config.kernel_size'"});
  expect_refused(with("block_size", 12), {"'sparse_config.block_size'"});
  expect_refused(with("window_size", 24), {"'sparse_config.window_size'"});
  expect_refused(with("init_blocks", -1), {"'sparse_config.init_blocks'"});
  expect_refused(with("topk", 1), {"'sparse_config.topk'"});
  expect_refused(with("use_nope", true), {"'sparse_config.use_nope'"});
  expect_refused(with("pooling", "mean"), {"sparse_config.pooling"});
}

TEST_F(Config, unknown_fields_are_listed) {
  json config = tiny_config({});
  config["sliding_window"] = 4;
  config["n_experts"] = 8;
  expect_refused(config, {"unknown fields", "n_experts", "sliding_window"});
}

TEST_F(Config, unknown_families_are_refused_with_the_known_ones) {
  json config = tiny_config({});
  config["model_type"] = "mamba";
  expect_refused(config, {"'model_type'", "mamba", "minicpm_sala"});
  config.erase("model_type");
  expect_refused(config, {"'model_type'", "architectures"});
  config["architectures"] = {"MambaForCausalLM"};
  expect_refused(config, {"'architectures'", "MambaForCausalLM"});
  config["architectures"] = {"MiniCPMSALAForCausalLM"};
  EXPECT_EQ(read(config).family, "minicpm_sala");
}

TEST_F(Config, broken_files_are_named) {
  expect_error([&] { read_model_config(folder_.path() / "absent", {}, "model"); },
               {"absent", "not a folder"});
  expect_error([&] { read_model_config(folder_.path(), {}, "model"); }, {"config.json"});
  write_file(folder_.path() / "config.json", "{\"a\": ");
  expect_error([&] { read_model_config(folder_.path(), {}, "model"); },
               {"config.json", "not valid JSON"});
  write_file(folder_.path() / "config.json", "[]");
  expect_error([&] { read_model_config(folder_.path(), {}, "model"); }, {"config.json", "object"});
  write_file(folder_.path() / "generation_config.json", "{");
  expect_error([&] { read(tiny_config({})); }, {"generation_config.json", "not valid JSON"});
}

TEST_F(Config, pointers_of_git_lfs_are_recognised) {
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n";
  write_file(folder_.path() / "generation_config.json", pointer);
  expect_error([&] { read(tiny_config({})); }, {"generation_config.json", "git lfs pull"});
  write_file(folder_.path() / "config.json", pointer);
  expect_error([&] { read_model_config(folder_.path(), {}, "model"); },
               {"/config.json", "git lfs pull"});
}

TEST_F(Config, links_that_lead_in_a_circle_are_named) {
  std::filesystem::create_symlink("generation_config.json",
                                  folder_.path() / "generation_config.json");
  expect_error([&] { read(tiny_config({})); }, {"generation_config.json", "symbolic links"});
  std::filesystem::remove(folder_.path() / "config.json");
  std::filesystem::create_symlink("config.json", folder_.path() / "config.json");
  expect_error([&] { read_model_config(folder_.path(), {}, "model"); },
               {"/config.json", "symbolic links"});
  std::filesystem::create_symlink("circle", folder_.path() / "circle");
  expect_error([&] { read_model_config(folder_.path() / "circle", {}, "model"); },
               {"circle", "not a folder"});
}

TEST_F(Config, end_tokens_of_both_files_count) {
  write_file(folder_.path() / "generation_config.json", R"({"eos_token_id": [1, 5]})");
  EXPECT_EQ(read(tiny_config({})).eos, (std::vector<TokenId>{1, 5}));
}

TEST_F(Config, settings_reach_the_layers_and_are_reported) {
  const ModelConfig config = read(tiny_config({}), {{"dense_rule", "row"},
                                                    {"dense_len", "-1"},
                                                    {"sparse", "off"},
                                                    {"lse", "exact"},
                                                    {"select_score", "fp32"},
                                                    {"rope_angle", "exact64"},
                                                    {"logits_round", "bf16"}});
  const json& sparse = config.layers[0].options;
  EXPECT_EQ(sparse["dense_rule"], "row");
  EXPECT_EQ(sparse["sparse"]["dense_len"], -1);
  EXPECT_EQ(sparse["sparse_on"], false);
  EXPECT_EQ(sparse["lse"], "exact");
  EXPECT_EQ(sparse["select_score"], "fp32");
  EXPECT_EQ(config.layers[1].options["rope"]["exact_angle"], true);
  const std::map<std::string, std::string> expected = {
      {"attention", "model"},    {"dense_rule", "row"},   {"dense_len", "-1"},
      {"sparse", "off"},         {"lse", "exact"},        {"select_score", "fp32"},
      {"rope_angle", "exact64"}, {"logits_round", "bf16"}};
  EXPECT_EQ(config.settings, expected);
  EXPECT_EQ(read(tiny_config({})).settings.at("dense_len"), "128");
}

TEST_F(Config, unknown_settings_list_the_choices) {
  expect_error([] { Settings::parse({{"dense", "1"}}); }, {"--set dense", "dense_rule, dense_len"});
  expect_error([] { Settings::parse({{"lse", "none"}}); }, {"--set lse", "approx, exact"});
  expect_error([] { Settings::parse({{"dense_len", "4k!"}}); }, {"dense_len", "4k!"});
}

}  // namespace
}  // namespace sala::testing
