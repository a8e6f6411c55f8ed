// MiniCPM4: softmax attention with rotary embedding in every layer, sparse with a sparse_config.
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/error.h"
#include "engine/model/families/family.h"

namespace sala {

void read_minicpm4(ConfigReader& reader, const Settings& settings, ModelConfig& config) {
  read_minicpm_shell(reader, config);

  const std::int64_t n_heads = reader.positive("num_attention_heads");
  // MiniCPM4's own configs leave head_dim out: there it is this quotient by construction.
  if (!reader.has("head_dim") && config.hidden % n_heads != 0) {
    reader.fail(
        "num_attention_heads",
        fmt::format("{} does not divide hidden_size {}; give head_dim", n_heads, config.hidden));
  }
  const std::int64_t head_dim =
      reader.has("head_dim") ? reader.positive("head_dim") : config.hidden / n_heads;
  nlohmann::json options =
      head_options(reader, "num_attention_heads", "num_key_value_heads", head_dim);
  options["rope"] = read_longrope(reader, settings, head_dim);
  options["output_gate"] = false;
  options["qk_norm"] = false;
  options["rms_norm_eps"] = config.rms_norm_eps;
  const std::string kind = add_sparse_options(reader, settings, options, config);

  const std::int64_t n_layers = reader.positive("num_hidden_layers");
  for (std::int64_t i = 0; i < n_layers; ++i) {
    config.layers.push_back(
        {kind, options, fmt::format("model.layers.{}.self_attn.", i), config.hidden});
  }
}

}  // namespace sala
