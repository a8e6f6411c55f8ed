// MiniCPM4: softmax attention with rotary embedding in every layer, sparse with a sparse_config.
// SPDX-License-Identifier: Apache-2.0
#include "engine/model/families/family.h"

namespace sala {

void read_minicpm4(ConfigReader& reader, const Settings& settings, ModelConfig& config) {
  read_minicpm_shell(reader, config);

  const std::int64_t head_dim = read_head_dim_or_share(reader, config);
  nlohmann::json options =
      head_options(reader, "num_attention_heads", "num_key_value_heads", head_dim);
  // Some of the published configs leave rope_theta to their own class, where it is this.
  options["rope"] =
      read_rope(reader, settings, head_dim, {.scalings = {"longrope"}, .theta = 10000.0});
  options["output_gate"] = false;
  options["qk_norm"] = false;
  options["rms_norm_eps"] = config.rms_norm_eps;
  const std::string kind = add_sparse_options(reader, settings, options, config);
  add_softmax_layers(reader, kind, options, config);
}

}  // namespace sala
