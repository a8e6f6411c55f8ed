// From a model folder to a ModelConfig.
// SPDX-License-Identifier: Apache-2.0
#include "engine/model/config.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "engine/base/parse_json.h"
#include "engine/model/families/family.h"
#include "engine/model/model_folder.h"

namespace sala {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void add_generation_eos(const fs::path& folder, ModelConfig& config) {
  const fs::path path = folder / "generation_config.json";
  if (!file_exists(path)) return;
  const json content = parse_json(path, read_checkpoint_text(path));
  ConfigReader reader(content, path.string());
  for (const TokenId id : read_token_ids(reader, "eos_token_id")) {
    if (std::find(config.eos.begin(), config.eos.end(), id) == config.eos.end()) {
      config.eos.push_back(id);
    }
  }
}

/// Says what a quantized checkpoint is before its tensors surprise.
void refuse_quantized(const fs::path& folder, ConfigReader& reader) {
  for (const char* field : {"quantization_config", "compression_config"}) {
    reader.ignore({field});
    if (!reader.has(field)) continue;
    const json& content = reader.required(field);
    const bool is_named = content.is_object() && content.contains("quant_method");
    reader.fail(field,
                fmt::format("says {}: quantized weights are not supported; use the "
                            "checkpoint in bf16, f16 or f32",
                            is_named ? content["quant_method"].dump() : "they are quantized"));
  }
  for (const char* name : {"quantize_config.json", "quant_config.json", "hf_quant_config.json"}) {
    if (!file_exists(folder / name)) continue;
    throw Error((folder / name).string(),
                "says that these weights are quantized, which is not supported; use the checkpoint "
                "in bf16, f16 or f32");
  }
}

/// The full-attention baseline with the same weights.
void replace_sparse_layers(ModelConfig& config) {
  config.settings["dense_len"] = "none";
  for (LayerSpec& layer : config.layers) {
    if (layer.kind != "infllm_v2") continue;
    layer.kind = "dense";
    for (const char* field : {"sparse", "dense_rule", "sparse_on", "lse", "select_score"}) {
      layer.options.erase(field);
    }
  }
}

}  // namespace

bool ModelConfig::is_hybrid() const {
  return std::any_of(layers.begin(), layers.end(),
                     [](const LayerSpec& layer) { return layer.kind != "dense"; });
}

ModelConfig read_model_config(const fs::path& folder, const Settings& settings,
                              const std::string& attention) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    throw Error(folder.string(), "is not a folder; name a model folder with a config.json");
  }
  if (attention != "model" && attention != "dense") {
    throw Error("--attention", "'{}' is not one of its values model, dense", attention);
  }
  check_links(folder);
  const fs::path path = folder / "config.json";
  ModelConfig config;
  config.json = read_checkpoint_text(path);
  const json content = parse_json(path, config.json);
  config.settings = {{"attention", attention},
                     {"dense_rule", settings.dense_rule},
                     {"dense_len", "none"},  // until a sparse layer needs it
                     {"sparse", settings.sparse ? "on" : "off"},
                     {"lse", settings.lse},
                     {"select_score", settings.select_score},
                     {"rope_angle", settings.rope_angle},
                     {"logits_round", settings.logits_round}};

  ConfigReader reader(content, path.string());
  const Family& family = find_family(reader);
  refuse_quantized(folder, reader);
  config.family = family.model_type;
  family.read(reader, settings, config);
  reader.finish();
  add_generation_eos(folder, config);
  if (attention == "dense") replace_sparse_layers(config);
  for (const TokenId id : config.eos) {
    if (id >= config.vocab) {
      throw Error(path.string(), "field 'eos_token_id' names token {}, vocab_size is {}", id,
                  config.vocab);
    }
  }
  return config;
}

void adopt_stored_parts(ModelConfig& config,
                        const std::function<bool(const std::string& name)>& has_tensor) {
  if (!config.tied_stated) config.tied = !has_tensor("lm_head.weight");
  for (LayerSpec& layer : config.layers) {
    const bool is_softmax = layer.kind == "dense" || layer.kind == "infllm_v2";
    if (is_softmax && has_tensor(layer.prefix + "q_norm.weight")) layer.options["qk_norm"] = true;
  }
}

}  // namespace sala
