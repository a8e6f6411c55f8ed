// A model with everything it needs to run, brought up from a folder.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "engine/engine.h"
#include "engine/memory_plan.h"
#include "engine/model/model.h"

namespace sala {

/// Prefill chunks are multiples of this: lightning chunks and sparse blocks then start alike for
/// every chunk size.
inline constexpr std::int64_t kChunkStep = 64;
/// Tokens of a prefill chunk where memory allows.
constexpr std::int64_t default_chunk(Device device) {
  return device == Device::cpu ? 1024 : 16384;
}

struct LoadedModel {
  ModelConfig config;
  std::unique_ptr<Backend> backend;  // outlives the members below
  std::unique_ptr<Blueprint> blueprint;
  std::unique_ptr<Model> model;          // null until load_weights()
  std::unique_ptr<Tokenizer> tokenizer;  // null when the folder has none
  EngineInfo info;
};

/// Reads config and tokenizer as the options say, and weights unless they are to follow. Throws
/// Error naming file and field, and what load_weights() throws.
LoadedModel load_model(const EngineOptions& options);

/// Makes the model, with the options that the rest was loaded with. Throws Error naming file and
/// field, and OutOfMemory (predicted) before any weight is loaded when they do not fit.
void load_weights(const EngineOptions& options, LoadedModel& loaded);

}  // namespace sala
