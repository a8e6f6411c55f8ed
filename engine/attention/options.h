// Reads the options of a layer, with ranges checked and every mistake named.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/attention/attention.h"

namespace sala {

/// Rotary embedding of a layer; no value = positions are not encoded.
struct RopeOptions {
  double theta = 10000.0;
  bool exact_angle = false;
  std::vector<double> slowdown = {};  // of every pair; empty: none
  float magnitude = 1.0F;             // factor of every cosine and sine
};

/// Sizes and switches that every kind of attention has.
struct HeadOptions {
  std::int64_t n_heads = 0;
  std::int64_t n_kv_heads = 0;
  std::int64_t head_dim = 0;
  float scale = 1.0F;  // of q·k
  std::optional<RopeOptions> rope = std::nullopt;
  bool qk_norm = false;
  bool output_gate = false;
  float rms_norm_eps = 1e-6F;

  std::int64_t group() const { return n_heads / n_kv_heads; }
  std::int64_t q_dim() const { return n_heads * head_dim; }
  std::int64_t kv_dim() const { return n_kv_heads * head_dim; }
  /// Rotary of these heads; only when rope has a value.
  Rotary rotary() const {
    return {head_dim, rope->theta, rope->exact_angle, rope->slowdown, rope->magnitude};
  }
};

/// One JSON object of options. All getters throw Error naming layer and option.
class Options {
 public:
  /// where: for messages, e.g. a layer's prefix. known: every name the object may have.
  Options(const nlohmann::json& object, std::string where,
          std::initializer_list<std::string_view> known);

  bool has(const char* name) const;  // present and not null
  std::int64_t integer(const char* name, std::int64_t least, std::int64_t most) const;
  double positive(const char* name) const;
  /// A list of exactly n positive numbers.
  std::vector<double> positives(const char* name, std::int64_t n) const;
  bool flag(const char* name, bool otherwise) const;
  /// Index of the option's text in `choices`; 0 when the option is absent.
  int choice(const char* name, std::initializer_list<std::string_view> choices) const;
  const nlohmann::json& object(const char* name) const;
  const std::string& where() const { return where_; }

 private:
  const nlohmann::json& at(const char* name) const;

  const nlohmann::json& object_;
  std::string where_;
};

/// The options object of a layer; names of other kinds are allowed, so that a layer can be run as
/// another kind.
Options layer_options(const LayerSpec& spec);
HeadOptions read_heads(const Options& options);

}  // namespace sala
