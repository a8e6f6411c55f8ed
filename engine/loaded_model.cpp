// Bringing up a model: config, plan, weights, tokenizer, identity.
// SPDX-License-Identifier: Apache-2.0
#include "engine/loaded_model.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/sha256.h"
#include "engine/byte_tokenizer.h"
#include "engine/model/weights.h"

namespace sala {
namespace {

/// The chunk asked for, or the largest whose activations and scratch leave seven eighths of the
/// memory to the caches.
std::int64_t choose_chunk(const EngineOptions& options, const Blueprint& blueprint,
                          Backend& backend) {
  if (options.chunk != 0) {
    if (options.chunk < 0 || options.chunk % kChunkStep != 0) {
      throw Error("--chunk", "{} is not a positive multiple of {}; try {}", options.chunk,
                  kChunkStep, default_chunk(backend.device()));
    }
    return options.chunk;
  }
  std::int64_t budget = backend.available_bytes();
  if (options.memory_limit_bytes > 0) budget = std::min(budget, options.memory_limit_bytes);
  std::int64_t chunk = default_chunk(backend.device());
  while (chunk > kChunkStep) {
    std::int64_t transient = 0;
    for (const CategoryBytes& row : blueprint.plan(chunk, chunk, 1)) {
      if (row.category == "activations" || row.category == "workspace") transient += row.bytes;
    }
    if (transient <= budget / 8) break;
    chunk /= 2;
  }
  return chunk;
}

std::unique_ptr<Tokenizer> load_tokenizer_of(const EngineOptions& options,
                                             const ModelConfig& config) {
  if (std::filesystem::exists(options.model / "tokenizer.json")) {
    auto tokenizer = load_tokenizer(options.model);
    if (tokenizer->vocab_size() > config.vocab) {
      throw Error((options.model / "tokenizer.json").string(),
                  "has {} tokens, but vocab_size of config.json is {}; do they belong together?",
                  tokenizer->vocab_size(), config.vocab);
    }
    return tokenizer;
  }
  return options.random_seed ? make_byte_tokenizer(config.vocab) : nullptr;
}

}  // namespace

LoadedModel load_model(const EngineOptions& options) {
  LoadedModel loaded;
  ModelConfig& config = loaded.config;
  config = read_model_config(options.model, Settings::parse(options.settings), options.attention);
  if (options.memory_limit_bytes < 0) {
    throw Error("--memory-limit", "{} is negative", options.memory_limit_bytes);
  }
  std::unique_ptr<Checkpoint> checkpoint;
  if (!options.random_seed) {
    checkpoint = std::make_unique<Checkpoint>(options.model);
    adopt_softmax_norms(
        config, [&](const std::string& name) { return checkpoint->tensors().contains(name); });
  }
  loaded.tokenizer = load_tokenizer_of(options, config);
  loaded.backend = make_backend(options.device, options.threads);
  Backend& backend = *loaded.backend;
  loaded.blueprint = std::make_unique<Blueprint>(config, backend);
  const Blueprint& blueprint = *loaded.blueprint;

  EngineInfo& info = loaded.info;
  info.chunk = choose_chunk(options, blueprint, backend);
  info.name = std::filesystem::canonical(options.model).filename().string();
  info.family = config.family;
  info.mode = config.is_hybrid() ? "hybrid" : "full";
  info.device = backend.info().id;
  info.device_info = backend.info();
  for (const LayerSpec& layer : config.layers) info.layer_pattern.push_back(layer.kind);
  info.n_parameters = blueprint.n_parameters();
  info.vocab_size = config.vocab;
  if (checkpoint) {
    const auto embedding = checkpoint->tensors().find("model.embed_tokens.weight");
    if (embedding == checkpoint->tensors().end()) {
      throw Error(checkpoint->source().string(), "tensor 'model.embed_tokens.weight' is missing");
    }
    info.dtype = dtype_name(embedding->second.dtype);
    info.weights_sha256 = checkpoint->sha256();
  } else {
    info.dtype = dtype_name(DType::bf16);
    info.weights_sha256 =
        fmt::format("random:{}:{}", *options.random_seed, sha256_hex(config.json));
  }
  if (loaded.tokenizer) info.tokenizer_sha256 = loaded.tokenizer->sha256();
  info.config_json = config.json;
  info.settings = config.settings;
  if (options.load) load_weights(options, loaded);
  return loaded;
}

void load_weights(const EngineOptions& options, LoadedModel& loaded) {
  Backend& backend = *loaded.backend;
  check_fits(loaded.blueprint->plan(1, loaded.info.chunk, 1), backend, options.memory_limit_bytes);
  if (options.random_seed) {
    RandomWeights weights(*options.random_seed, backend);
    loaded.model = std::make_unique<Model>(loaded.config, weights, backend);
    return;
  }
  const Checkpoint checkpoint(options.model);
  FileWeights weights(checkpoint, backend);
  auto model = std::make_unique<Model>(loaded.config, weights, backend);
  weights.check_all_used();
  loaded.model = std::move(model);
}

}  // namespace sala
