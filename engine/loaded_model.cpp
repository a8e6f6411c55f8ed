// Bringing up a model: config, plan, weights, tokenizer, identity.
// SPDX-License-Identifier: Apache-2.0
#include "engine/loaded_model.h"

#include <algorithm>
#include <chrono>
#include <future>

#include "engine/base/error.h"
#include "engine/base/sha256.h"
#include "engine/byte_tokenizer.h"
#include "engine/model/weights.h"
#include "engine/text/chat_formats.h"

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
  if (has_tokenizer(options.model)) {
    auto tokenizer = load_tokenizer(options.model);
    if (tokenizer->vocab_size() > config.vocab) {
      throw Error(options.model.string(),
                  "its tokenizer.json or tokenizer.model has {} tokens, but vocab_size of "
                  "config.json is {}; do they belong together?",
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
  std::future<std::string> hash;  // of its files, while the weights are loaded
  if (!options.random_seed) {
    checkpoint = std::make_unique<Checkpoint>(options.model);
    adopt_stored_parts(
        config, [&](const std::string& name) { return checkpoint->tensors().contains(name); });
  } else if (!config.tied_stated) {
    throw Error((options.model / "config.json").string(),
                "field 'tie_word_embeddings' is missing; without weights only it can say whether "
                "there is a head");
  }
  loaded.tokenizer = load_tokenizer_of(options, config);
  loaded.backend = make_backend(options.device, options.threads);
  Backend& backend = *loaded.backend;
  loaded.blueprint = std::make_unique<Blueprint>(config, backend);
  const Blueprint& blueprint = *loaded.blueprint;
  if (checkpoint) check_tensors(*checkpoint, blueprint.tensors());

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
  info.chat_template = find_chat_template(options.model);
  if (checkpoint) {
    info.dtype = dtype_name(checkpoint->tensors().at("model.embed_tokens.weight").dtype);
    hash = std::async(std::launch::async, [&checkpoint] { return checkpoint->sha256(); });
  } else {
    info.dtype = dtype_name(DType::bf16);
    info.weights_sha256 =
        fmt::format("random:{}:{}", *options.random_seed, sha256_hex(config.json));
  }
  if (loaded.tokenizer) info.tokenizer_sha256 = loaded.tokenizer->sha256();
  info.config_json = config.json;
  info.settings = config.settings;
  if (options.load) load_weights(options, loaded);
  if (checkpoint) info.weights_sha256 = hash.get();
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
  const auto start = std::chrono::steady_clock::now();
  const Checkpoint checkpoint(options.model);
  check_tensors(checkpoint, loaded.blueprint->tensors());
  FileWeights weights(checkpoint, backend);
  auto model = std::make_unique<Model>(loaded.config, weights, backend);
  loaded.info.load_bytes = weights.fill();
  loaded.info.load_ns = std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count();
  loaded.model = std::move(model);
}

}  // namespace sala
