// Llama 2 and 3: softmax attention with rotary embedding in every layer. Source: arXiv 2407.21783.
// SPDX-License-Identifier: Apache-2.0
#include "engine/model/families/family.h"

namespace sala {

void read_llama(ConfigReader& reader, const Settings& settings, ModelConfig& config) {
  read_shell(reader, config);

  const std::int64_t head_dim = read_head_dim_or_share(reader, config);
  nlohmann::json options =
      head_options(reader, "num_attention_heads", "num_key_value_heads", head_dim);
  // Llama 2 was published before configs had a rope_theta.
  options["rope"] =
      read_rope(reader, settings, head_dim, {.scalings = {"llama3", "yarn"}, .theta = 10000.0});
  options["output_gate"] = false;
  options["qk_norm"] = false;
  options["rms_norm_eps"] = config.rms_norm_eps;
  add_softmax_layers(reader, "dense", options, config);
}

}  // namespace sala
