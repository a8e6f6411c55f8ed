// Checked access to a layer's JSON options.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/options.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"

namespace sala {

namespace {

bool is_positive(const nlohmann::json& value) {
  return value.is_number() && value.get<double>() > 0 && std::isfinite(value.get<double>());
}

}  // namespace

Options::Options(const nlohmann::json& object, std::string where,
                 std::initializer_list<std::string_view> known)
    : object_(object), where_(std::move(where)) {
  if (!object.is_object()) throw Error(where_, "expected an object of options");
  for (const auto& [name, value] : object.items()) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      throw Error(where_, "unknown option '{}'", name);
    }
  }
}

bool Options::has(const char* name) const {
  return object_.contains(name) && !object_.at(name).is_null();
}

const nlohmann::json& Options::at(const char* name) const {
  if (!has(name)) throw Error(where_, "option '{}' is missing", name);
  return object_.at(name);
}

std::int64_t Options::integer(const char* name, std::int64_t least, std::int64_t most) const {
  const nlohmann::json& value = at(name);
  if (!value.is_number_integer() || value.get<std::int64_t>() < least ||
      value.get<std::int64_t>() > most) {
    throw Error(where_, "option '{}': expected an integer of {} to {}, got {}", name, least, most,
                value.dump());
  }
  return value.get<std::int64_t>();
}

double Options::positive(const char* name) const {
  const nlohmann::json& value = at(name);
  if (!is_positive(value)) {
    throw Error(where_, "option '{}': expected a positive number, got {}", name, value.dump());
  }
  return value.get<double>();
}

std::vector<double> Options::positives(const char* name, std::int64_t n) const {
  const nlohmann::json& values = at(name);
  if (!values.is_array() || values.size() != static_cast<std::size_t>(n) ||
      !std::all_of(values.begin(), values.end(), is_positive)) {
    throw Error(where_, "option '{}': expected {} positive numbers, got {}", name, n,
                values.dump());
  }
  return values.get<std::vector<double>>();
}

bool Options::flag(const char* name, bool otherwise) const {
  if (!has(name)) return otherwise;
  const nlohmann::json& value = at(name);
  if (!value.is_boolean()) {
    throw Error(where_, "option '{}': expected true or false, got {}", name, value.dump());
  }
  return value.get<bool>();
}

int Options::choice(const char* name, std::initializer_list<std::string_view> choices) const {
  if (!has(name)) return 0;
  const nlohmann::json& value = at(name);
  const auto found = value.is_string()
                         ? std::find(choices.begin(), choices.end(), value.get<std::string>())
                         : choices.end();
  if (found == choices.end()) {
    throw Error(where_, "option '{}': expected {}, got {}", name, fmt::join(choices, " or "),
                value.dump());
  }
  return static_cast<int>(found - choices.begin());
}

const nlohmann::json& Options::object(const char* name) const {
  return at(name);
}

Options layer_options(const LayerSpec& spec) {
  return {
      spec.options,
      spec.prefix,
      {"n_heads", "n_kv_heads", "head_dim", "scale", "rope", "qk_norm", "output_gate",
       "output_norm", "rms_norm_eps", "sparse", "dense_rule", "sparse_on", "lse", "select_score"}};
}

HeadOptions read_heads(const Options& options) {
  constexpr std::int64_t kMostHeads = 1 << 16;
  HeadOptions heads;
  heads.n_heads = options.integer("n_heads", 1, kMostHeads);
  heads.n_kv_heads = options.integer("n_kv_heads", 1, heads.n_heads);
  heads.head_dim = options.integer("head_dim", 2, 1024);
  if (heads.n_heads % heads.n_kv_heads != 0) {
    throw Error(options.where(), "n_heads {} is not a multiple of n_kv_heads {}", heads.n_heads,
                heads.n_kv_heads);
  }
  if (heads.head_dim % 2 != 0) {
    throw Error(options.where(), "head_dim: expected an even number, got {}", heads.head_dim);
  }
  heads.scale = static_cast<float>(options.positive("scale"));
  heads.rms_norm_eps = static_cast<float>(options.positive("rms_norm_eps"));
  heads.qk_norm = options.flag("qk_norm", false);
  heads.output_gate = options.flag("output_gate", false);
  if (options.has("rope")) {
    const Options rope(options.object("rope"), options.where() + "rope",
                       {"theta", "exact_angle", "slowdown", "magnitude"});
    heads.rope = RopeOptions{rope.positive("theta"), rope.flag("exact_angle", false)};
    if (rope.has("slowdown")) heads.rope->slowdown = rope.positives("slowdown", heads.head_dim / 2);
    if (rope.has("magnitude")) {
      heads.rope->magnitude = static_cast<float>(rope.positive("magnitude"));
    }
  }
  return heads;
}

}  // namespace sala
