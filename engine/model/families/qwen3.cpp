// Qwen3: rotary attention with a norm of every query and key head. Source: arXiv 2505.09388.
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/error.h"
#include "engine/model/families/family.h"

namespace sala {

void read_qwen3(ConfigReader& reader, const Settings& settings, ModelConfig& config) {
  read_shell(reader, config);
  reader.only("use_sliding_window", false, "every layer attends to all tokens");
  reader.ignore({"max_window_layers", "sliding_window"});  // of use_sliding_window

  nlohmann::json options = head_options(reader, "num_attention_heads", "num_key_value_heads",
                                        reader.positive("head_dim"));
  options["rope"] = read_rope(reader, settings);
  options["output_gate"] = false;
  options["qk_norm"] = true;
  options["rms_norm_eps"] = config.rms_norm_eps;
  const std::int64_t n_layers = reader.positive("num_hidden_layers");
  for (std::int64_t i = 0; i < n_layers; ++i) {
    config.layers.push_back(
        {"dense", options, fmt::format("model.layers.{}.self_attn.", i), config.hidden});
  }
}

}  // namespace sala
