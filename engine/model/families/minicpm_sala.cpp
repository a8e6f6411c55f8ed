// MiniCPM-SALA: InfLLM-V2 and lightning layers mixed by mixer_types. Source: arXiv 2602.11761.
// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "engine/base/error.h"
#include "engine/model/families/family.h"

namespace sala {
namespace {

enum class Mixer : std::uint8_t { softmax, lightning };

Mixer read_mixer(const ConfigReader& reader, const nlohmann::json& value, std::size_t layer) {
  const std::string name = value.is_string() ? value.get<std::string>() : value.dump();
  for (const char* alias : {"minicpm4", "minicpm", "standard", "attention", "attn"}) {
    if (name == alias) return Mixer::softmax;
  }
  for (const char* alias : {"lightning", "lightning_attn", "lightning-attn"}) {
    if (name == alias) return Mixer::lightning;
  }
  reader.fail(
      fmt::format("mixer_types[{}]", layer),
      fmt::format("'{}' is not a known layer kind; expected minicpm4 or lightning-attn", name));
}

/// The reference knows two names and takes any other as no scaling.
double lightning_scale(ConfigReader& reader, std::int64_t head_dim) {
  const std::string& value = reader.text("lightning_scale");
  if (value == "1/sqrt(d)") return 1 / std::sqrt(static_cast<double>(head_dim));
  if (value == "1/d") return 1 / static_cast<double>(head_dim);
  return 1;
}

}  // namespace

void read_minicpm_sala(ConfigReader& reader, const Settings& settings, ModelConfig& config) {
  read_minicpm_shell(reader, config);
  const std::int64_t head_dim = read_head_dim(reader);
  const nlohmann::json rope = read_rope(reader, settings, head_dim);
  nlohmann::json softmax =
      head_options(reader, "num_attention_heads", "num_key_value_heads", head_dim);
  softmax["rope"] = reader.boolean("attn_use_rope") ? rope : nullptr;
  softmax["output_gate"] = reader.boolean("attn_use_output_gate");
  softmax["qk_norm"] = false;  // the config's qk_norm speaks of the linear layers
  softmax["rms_norm_eps"] = config.rms_norm_eps;
  const std::string softmax_kind = add_sparse_options(reader, settings, softmax, config);

  const std::int64_t linear_dim = read_head_dim(reader, "lightning_head_dim");
  nlohmann::json linear = head_options(reader, "lightning_nh", "lightning_nkv", linear_dim);
  // The reference builds every head from head_dim; the head counts are this field's own.
  if (linear_dim != head_dim) reader.fail("lightning_head_dim", "must equal head_dim");
  linear["scale"] = lightning_scale(reader, linear_dim);
  linear["rope"] = reader.boolean("lightning_use_rope") ? rope : nullptr;
  linear["qk_norm"] = reader.boolean("qk_norm");
  linear["output_norm"] = reader.boolean("use_output_norm");
  linear["output_gate"] = reader.boolean("use_output_gate");
  linear["rms_norm_eps"] = config.rms_norm_eps;

  const auto& mixers = reader.required("mixer_types");
  const auto n_layers = static_cast<std::size_t>(read_n_layers(reader));
  if (!mixers.is_array() || mixers.size() != n_layers) {
    reader.fail("mixer_types",
                fmt::format("must list {} layers, as num_hidden_layers says; it is {}", n_layers,
                            mixers.dump()));
  }
  for (std::size_t i = 0; i < n_layers; ++i) {
    const bool is_softmax = read_mixer(reader, mixers[i], i) == Mixer::softmax;
    config.layers.push_back({is_softmax ? softmax_kind : "lightning", is_softmax ? softmax : linear,
                             fmt::format("model.layers.{}.self_attn.", i), config.hidden});
  }
}

}  // namespace sala
