// Engine options that change results: names, legal values, defaults.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace sala {

/// Options of the model reference §1.4, first value = default.
struct Settings {
  std::string dense_rule = "request";     // or row
  std::optional<std::int64_t> dense_len;  // instead of the config's; <= 0 = always sparse
  bool sparse = true;                     // off: full causal attention at any length
  std::string lse = "approx";             // or exact
  std::string select_score = "bf16";      // or fp32
  std::string rope_angle = "ref32";       // or exact64
  std::string logits_round = "none";      // or bf16

  /// Throws Error listing the choices for an unknown key or value.
  static Settings parse(const std::map<std::string, std::string>& values);
};

}  // namespace sala
