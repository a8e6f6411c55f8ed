// Proof of activity: whether every layer really did what a model of its design does.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace sala {

/// From which lengths on a model's block-sparse layers are sparse, in tokens.
struct SelectionRule {
  bool is_on = true;           // engine option sparse
  std::int64_t dense_len = 0;  // shorter prompts are read whole, by the dense path
  std::int64_t budget = 0;     // most tokens that a query reads: all of a prompt up to that long

  /// Whether a query of a prompt of that length has more blocks behind it than it may read.
  bool selects_at(std::int64_t n_tokens) const {
    return is_on && n_tokens >= dense_len && n_tokens > budget;
  }
};

/// What the model's config and engine options say. Throws Error when no layer is block-sparse, or
/// every one is switched off.
SelectionRule selection_rule(const EngineInfo& info);

/// What in the route of a prompt contradicts the design: a linear layer that took another path, or
/// a block-sparse one that read every block although the rule says it selects. Empty when nothing
/// does.
std::string activity_mismatch(const EngineInfo& info, const std::vector<RouteEntry>& route,
                              std::int64_t n_prompt);

/// The same for the model with dense layers in place of its block-sparse ones: one that left out a
/// block. info: of the model as designed.
std::string dense_mismatch(const EngineInfo& info, const std::vector<RouteEntry>& route);

}  // namespace sala
