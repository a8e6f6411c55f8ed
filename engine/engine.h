// The engine: loads a model and answers requests. The only engine header the harness needs.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/base/ceilings.h"
#include "engine/request.h"
#include "engine/text/tokenizer.h"

namespace sala {

struct EngineOptions {
  std::filesystem::path model;  // Hugging Face folder, or a config.json folder with random weights
  std::string device = "auto";
  std::int64_t chunk = 0;           // prefill chunk in tokens; 0 = the engine's default
  std::string attention = "model";  // or "dense": every sparse layer as full softmax attention
  std::optional<std::uint64_t> random_seed;  // random weights instead of files
  std::map<std::string, std::string>
      settings;                         // dense_rule, dense_len, sparse, lse, select_score, ...
  std::int64_t memory_limit_bytes = 0;  // 0 = what the device has
  int threads = 0;                      // 0 = all cores
  bool time_stages = true;              // false: only whole requests and tokens
  bool keep_timeline = false;           // with every stage's begin and end in Output::timeline
  bool load = true;  // false: weights follow with the first request; a plan needs none
};

struct EngineInfo {
  std::string name;    // folder name
  std::string family;  // model_type
  std::string mode;    // hybrid: has linear or sparse layers; full: every layer is dense softmax
  std::string dtype;   // of the stored weights
  std::string device;  // cpu, cuda:0
  DeviceInfo device_info;
  std::vector<std::string> layer_pattern;  // kind per layer
  std::int64_t n_parameters = 0;
  std::int64_t vocab_size = 0;
  std::string weights_sha256;
  std::string tokenizer_sha256;
  std::string chat_template = "base";  // the model's own, as find_chat_template() names it
  std::string config_json;             // the model's config, verbatim
  std::map<std::string, std::string>
      settings;  // options that change results, all of them, with values
  std::int64_t chunk = 0;
  std::int64_t load_bytes = 0;  // of stored weights that were copied to the device
  std::int64_t load_ns = 0;     // that it took; 0 before, and for random weights
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual const EngineInfo& info() const = 0;
  virtual const Tokenizer& tokenizer() const = 0;
  /// Bytes by category that a sequence of n_tokens (prompt and answer) needs, weights included.
  virtual std::vector<CategoryBytes> plan_memory(std::int64_t n_tokens) const = 0;
  /// Throws OutOfMemory, before allocating, when the plan does not fit; Error for an empty prompt
  /// or a token id outside the vocabulary.
  virtual Output run(const Request& request) = 0;
  /// Logits of the last `last` positions (0 = all), fp32, (positions, vocab) row-major.
  virtual std::vector<float> logits(std::span<const TokenId> tokens, std::int64_t last) = 0;
  /// Bytes of the device that it holds now: the weights and the last sequence.
  virtual std::int64_t held_bytes() const = 0;
  /// What its device can do at best, measured; see measure_ceilings(). Throws OutOfMemory.
  virtual Ceilings measure_ceilings() = 0;
  /// Gives the weights and the last sequence back; the next request loads the weights again, before
  /// its time counts.
  virtual void unload() = 0;
};

std::unique_ptr<Engine> make_engine(const EngineOptions& options);

}  // namespace sala
