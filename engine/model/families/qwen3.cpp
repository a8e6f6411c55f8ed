// Qwen3: rotary attention with a norm of every query and key head. Source: arXiv 2505.09388.
// SPDX-License-Identifier: Apache-2.0
#include "engine/model/families/family.h"

namespace sala {
namespace {

/// transformers lists what each layer attends to; here all layers must attend to everything.
void check_layer_types(ConfigReader& reader) {
  reader.ignore({"layer_types"});
  if (!reader.has("layer_types")) return;
  const auto n_layers = static_cast<std::size_t>(read_n_layers(reader));
  if (reader.required("layer_types") != nlohmann::json(n_layers, "full_attention")) {
    reader.fail("layer_types", "must be full_attention for every layer");
  }
}

}  // namespace

void read_qwen3(ConfigReader& reader, const Settings& settings, ModelConfig& config) {
  read_shell(reader, config);
  check_layer_types(reader);
  reader.only("use_sliding_window", false, "every layer attends to all tokens");
  reader.ignore({"max_window_layers", "sliding_window"});  // of use_sliding_window

  const std::int64_t head_dim = read_head_dim(reader);
  nlohmann::json options =
      head_options(reader, "num_attention_heads", "num_key_value_heads", head_dim);
  options["rope"] = read_rope(reader, settings, head_dim, {.scalings = {"yarn"}});
  options["output_gate"] = false;
  options["qk_norm"] = true;
  options["rms_norm_eps"] = config.rms_norm_eps;
  add_softmax_layers(reader, "dense", options, config);
}

}  // namespace sala
