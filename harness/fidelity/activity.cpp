// Proof of activity: whether every layer really did what a model of its design does.
// SPDX-License-Identifier: Apache-2.0
#include "harness/fidelity/activity.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"

namespace sala {
namespace {

constexpr const char* kSparseKind = "infllm_v2";
constexpr const char* kLinearKind = "lightning";

/// What one layer did in the prefill, all routines added up.
struct Activity {
  bool ran = false;
  bool other_path = false;  // than the one asked about
  std::int64_t blocks_read = 0;
  std::int64_t blocks_visible = 0;
};

Activity activity_of(std::size_t layer, const std::vector<RouteEntry>& route,
                     const std::string& path) {
  Activity activity;
  for (const RouteEntry& entry : route) {
    if (static_cast<std::size_t>(entry.layer) != layer || entry.phase != "prefill") continue;
    if (entry.path != path) {
      activity.other_path = true;
      continue;
    }
    activity.ran = true;
    activity.blocks_read += entry.blocks_read;
    activity.blocks_visible += entry.blocks_visible;
  }
  return activity;
}

}  // namespace

SelectionRule selection_rule(const EngineInfo& info) {
  const auto& kinds = info.layer_pattern;
  if (std::find(kinds.begin(), kinds.end(), kSparseKind) == kinds.end()) {
    throw Error(info.name,
                "has no block-sparse layer, so there is no selection to measure; name a model with "
                "InfLLM-V2 layers, such as needle-hybrid");
  }
  const auto sparse = info.settings.find("sparse");
  if (sparse != info.settings.end() && sparse->second == "off") {
    throw Error("--set sparse", "is off, so there is no selection to measure; leave it out");
  }
  const auto config = nlohmann::json::parse(info.config_json).at("sparse_config");
  const auto get = [&](const char* field) { return config.at(field).get<std::int64_t>(); };
  SelectionRule rule{.dense_len = get("dense_len"),
                     .budget = get("topk") * get("block_size") + get("window_size")};
  const auto dense_len = info.settings.find("dense_len");
  if (dense_len != info.settings.end()) rule.dense_len = std::stoll(dense_len->second);
  return rule;
}

std::string activity_mismatch(const EngineInfo& info, const std::vector<RouteEntry>& route,
                              std::int64_t n_prompt) {
  const bool selects = selection_rule(info).selects_at(n_prompt);
  for (std::size_t i = 0; i < info.layer_pattern.size(); ++i) {
    const std::string& kind = info.layer_pattern[i];
    if (kind == kLinearKind) {
      const Activity linear = activity_of(i, route, "linear");
      if (!linear.ran || linear.other_path) {
        return fmt::format("layer {} is linear and did not run as such", i);
      }
    } else if (kind == kSparseKind && selects) {
      const Activity sparse = activity_of(i, route, "sparse");
      if (!sparse.ran) return fmt::format("layer {} did not take its sparse path", i);
      if (sparse.blocks_read >= sparse.blocks_visible) {
        return fmt::format("layer {} read all of its {} key blocks where it has to select", i,
                           sparse.blocks_visible);
      }
    }
  }
  return "";
}

std::string dense_mismatch(const EngineInfo& info, const std::vector<RouteEntry>& route) {
  for (std::size_t i = 0; i < info.layer_pattern.size(); ++i) {
    if (info.layer_pattern[i] != kSparseKind) continue;
    const Activity dense = activity_of(i, route, "dense");
    if (!dense.ran || dense.other_path || dense.blocks_read != dense.blocks_visible) {
      return fmt::format("layer {} was to be dense and did not read every key block", i);
    }
  }
  return "";
}

}  // namespace sala
