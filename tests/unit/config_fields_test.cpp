// Every field of published configs is used, checked or known to mean nothing: none is passed over.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <set>

#include "engine/base/data_dir.h"
#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "engine/model/config.h"
#include "tests/tiny_model.h"

namespace sala::testing {
namespace {

using nlohmann::json;

/// Fields that leave what is computed as it is, and why they may.
const std::set<std::string> kWithoutMeaning = {
    "attention_dropout",        // training
    "auto_map",                 // where the reference's code lies
    "dtype",                    // the tensors say it themselves
    "initializer_range",        // training
    "max_position_embeddings",  // positions beyond it are computed; LongRoPE uses it
    "max_window_layers",        // of use_sliding_window, which must be false
    "mup_denominator",          // no forward pass reads it
    "pad_token_id",             // nothing is padded
    "pretraining_tp",           // how the reference cuts its products
    "shift_labels",             // training
    "sliding_window",           // of use_sliding_window
    "torch_dtype",              // the tensors say it themselves
    "transformers_version",     // bookkeeping
    "use_cache",                // of the reference's own generation
};

class ConfigFields : public ::testing::TestWithParam<std::string> {
 protected:
  /// The preset with the bookkeeping that published files carry.
  json published() const {
    json config = json::parse(read_text_file(data_dir() / "configs" / GetParam() / "config.json"));
    config["transformers_version"] = "4.57.1";
    config["dtype"] = config["torch_dtype"];
    config["auto_map"] = {{"AutoModelForCausalLM", "modeling.Model"}};
    if (is_minicpm(config["model_type"])) {
      config["mup_denominator"] = 32;
      config["shift_labels"] = true;
      config["pad_token_id"] = 2;
      config["sparse_config"] = {{"kernel_size", 32}, {"kernel_stride", 16}, {"init_blocks", 1},
                                 {"block_size", 64},  {"window_size", 2048}, {"topk", 64},
                                 {"use_nope", false}, {"dense_len", 8192}};
    }
    return config;
  }

  /// All that a config decides; "" when it is refused.
  std::string plan(const json& config) const {
    write_file(folder_.path() / "config.json", config.dump());
    try {
      const ModelConfig read = read_model_config(folder_.path(), {}, "model");
      std::string text =
          fmt::format("{} {} {} {} {} {} {} {} {} {}", read.family, read.hidden, read.intermediate,
                      read.vocab, read.scale_emb, read.residual_scale, read.logit_divisor,
                      read.rms_norm_eps, read.tied, read.bos ? *read.bos : -1);
      for (const TokenId id : read.eos) text += fmt::format(" {}", id);
      for (const LayerSpec& layer : read.layers) {
        text += fmt::format("\n{} {} {}", layer.kind, layer.prefix, layer.options.dump());
      }
      for (const auto& [key, value] : read.settings) text += fmt::format("\n{} {}", key, value);
      return text;
    } catch (const Error&) {
      return "";
    }
  }
  TempFolder folder_;
};
INSTANTIATE_TEST_SUITE_P(Published, ConfigFields,
                         ::testing::Values("minicpm-sala-9b", "minicpm4-8b", "qwen3-8b",
                                           "llama-3.1-8b"),
                         [](const auto& test) {
                           std::string name = test.param;
                           for (char& c : name) c = c == '-' || c == '.' ? '_' : c;
                           return name;
                         });

/// Another value of the same kind.
json changed(const json& value) {
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number_integer()) return value.get<std::int64_t>() * 2;
  if (value.is_number()) return value.get<double>() * 2;
  if (value.is_string()) return value.get<std::string>() + "x";
  if (value.is_null()) return 4096;
  json shorter = value;
  if (value.is_array()) shorter.erase(value.size() - 1);
  if (value.is_object()) shorter.erase(value.begin().key());
  return shorter;
}

TEST_P(ConfigFields, every_one_changes_the_plan_or_is_refused_or_means_nothing) {
  const json config = published();
  const std::string original = plan(config);
  ASSERT_NE(original, "");
  for (const auto& [field, value] : config.items()) {
    json other = config;
    other[field] = changed(value);
    const std::string other_plan = plan(other);
    const bool is_long_rope = config["rope_scaling"].is_object() &&
                              config["rope_scaling"].value("rope_type", "") == "longrope";
    if (kWithoutMeaning.contains(field) && !(field == "max_position_embeddings" && is_long_rope)) {
      EXPECT_EQ(other_plan, original) << field;
    } else {
      EXPECT_NE(other_plan, original) << field;
    }
  }
}

TEST_P(ConfigFields, parts_of_fields_do_too) {
  const json config = published();
  const std::string original = plan(config);
  for (const char* field : {"rope_scaling", "sparse_config"}) {
    if (!config.contains(field) || !config[field].is_object()) continue;
    for (const auto& [part, value] : config[field].items()) {
      json other = config;
      other[field][part] = changed(value);
      EXPECT_NE(plan(other), original) << field << "." << part;
    }
    json other = config;
    other[field]["another"] = 1;
    EXPECT_EQ(plan(other), "") << field;
  }
}

TEST_P(ConfigFields, one_that_is_not_known_is_refused) {
  for (const char* field : {"attn_log_scale", "num_experts", "head_bias", "sliding_windows"}) {
    json config = published();
    config[field] = nullptr;
    EXPECT_EQ(plan(config), "") << field;
  }
}

TEST_P(ConfigFields, an_architecture_of_another_kind_is_refused) {
  json config = published();
  for (const json& other :
       {json{"MistralForCausalLM"}, json{"LlamaForSequenceClassification"}, json::array()}) {
    config["architectures"] = other;
    EXPECT_EQ(plan(config), "") << other;
  }
  config["architectures"] = nullptr;
  EXPECT_NE(plan(config), "");
}

}  // namespace
}  // namespace sala::testing
