// What a model is made of, as read from its config.json.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/attention/attention.h"
#include "engine/base/token.h"
#include "engine/model/settings.h"

namespace sala {

/// One shell for every family; all switches are data. Source: model reference §2.1, §6.
struct ModelConfig {
  std::string family;  // model_type
  std::int64_t hidden = 0;
  std::int64_t intermediate = 0;
  std::int64_t vocab = 0;
  float scale_emb = 1;       // of embeddings
  float residual_scale = 1;  // of what each mixer and MLP adds
  float logit_divisor = 1;   // of the hidden state before the head
  float rms_norm_eps = 0;
  bool tied = false;         // the head is the embedding table
  bool tied_stated = false;  // config.json says whether; otherwise the checkpoint shows it
  std::optional<TokenId> bos;
  std::vector<TokenId> eos;
  std::vector<LayerSpec> layers;
  std::string json;                             // config.json, verbatim
  std::map<std::string, std::string> settings;  // effective values of the engine options

  bool is_hybrid() const;  // has a layer that is not full softmax attention
};

/// Reads config.json, and generation_config.json for further end tokens, of a model folder.
/// attention: "model", or "dense" to replace every sparse layer by full softmax attention.
/// Throws Error naming file and field for what is missing, unknown or unsupported: no default
/// stands in for a field that shapes the model.
ModelConfig read_model_config(const std::filesystem::path& folder, const Settings& settings,
                              const std::string& attention);

/// Takes from a checkpoint what a config leaves open: query and key norms of softmax layers, of
/// which no field speaks, and whether there is a head when tie_word_embeddings is absent.
/// has_tensor: whether the checkpoint holds a name. Source: model reference §2.3.
void adopt_stored_parts(ModelConfig& config,
                        const std::function<bool(const std::string& name)>& has_tensor);

}  // namespace sala
