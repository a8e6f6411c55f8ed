// Rotary embeddings of configs: every scaling becomes how much slower each pair of a head turns.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/base/error.h"
#include "engine/model/families/family.h"

namespace sala {
namespace {

using nlohmann::json;

/// What there is to know about a rotary embedding besides its scaling.
struct Turns {
  double theta;
  std::int64_t head_dim;

  std::int64_t n_pairs() const { return head_dim / 2; }
  /// Tokens in which pair i turns once, unscaled.
  double wavelength(std::int64_t i) const {
    return 2 * std::numbers::pi *
           std::pow(theta, 2 * static_cast<double>(i) / static_cast<double>(head_dim));
  }
  /// The pair, as a fraction, that turns that often in n_tokens.
  double pair_turning(double times, double n_tokens) const {
    return static_cast<double>(head_dim) * std::log(n_tokens / (times * 2 * std::numbers::pi)) /
           (2 * std::log(theta));
  }
};

double trained_length(ConfigReader& scaling) {
  const std::int64_t length = scaling.positive("original_max_position_embeddings");
  if (length < 2) scaling.fail("original_max_position_embeddings", "must be at least 2");
  return static_cast<double>(length);
}

/// A mean of no slowdown and `factor`, in frequency: share 0 is none, 1 all of it.
double blended(double share, double factor) {
  return 1 / (share / factor + 1 - share);
}

/// Llama 3.1: waves longer than the trained length over low_freq_factor slow down, those shorter
/// than it over high_freq_factor do not.
void scale_llama3(ConfigReader& scaling, const Turns& turns, json& rope) {
  const double factor = scaling.number("factor");
  const double low = scaling.number("low_freq_factor");
  const double high = scaling.number("high_freq_factor");
  const double trained = trained_length(scaling);
  if (high <= low) scaling.fail("high_freq_factor", "must be greater than low_freq_factor");
  for (std::int64_t i = 0; i < turns.n_pairs(); ++i) {
    const double position = (trained / turns.wavelength(i) - low) / (high - low);
    rope["slowdown"].push_back(blended(1 - std::clamp(position, 0.0, 1.0), factor));
  }
}

/// YaRN, arXiv 2309.00071: pairs slow down along a ramp between those that turn beta_fast and
/// beta_slow times in the trained length.
void scale_yarn(ConfigReader& scaling, const Turns& turns, json& rope) {
  const double factor = scaling.number("factor");
  const double trained = trained_length(scaling);
  const double fast = scaling.has("beta_fast") ? scaling.number("beta_fast") : 32;
  const double slow = scaling.has("beta_slow") ? scaling.number("beta_slow") : 1;
  scaling.ignore({"beta_fast", "beta_slow", "attention_factor"});
  const double last = static_cast<double>(turns.head_dim - 1);
  const double begin = std::max(std::floor(turns.pair_turning(fast, trained)), 0.0);
  const double end = std::min(std::ceil(turns.pair_turning(slow, trained)), last);
  const double width = end == begin ? 0.001 : end - begin;
  for (std::int64_t i = 0; i < turns.n_pairs(); ++i) {
    const double share = std::clamp((static_cast<double>(i) - begin) / width, 0.0, 1.0);
    rope["slowdown"].push_back(blended(share, factor));
  }
  rope["magnitude"] = scaling.has("attention_factor") ? scaling.number("attention_factor")
                                                      : 0.1 * std::log(std::max(factor, 1.0)) + 1;
}

/// LongRoPE, arXiv 2402.13753: a searched slowdown for every pair.
void scale_longrope(ConfigReader& scaling, const Turns& turns, double extended, json& rope) {
  const json& slowdown = scaling.required("long_factor");
  const auto is_factor = [](const json& value) {
    return value.is_number() && is_plausible(value.get<double>());
  };
  if (!slowdown.is_array() || slowdown.size() != static_cast<std::size_t>(turns.n_pairs()) ||
      !std::all_of(slowdown.begin(), slowdown.end(), is_factor)) {
    scaling.fail("long_factor", fmt::format("must be {} positive numbers, half of head_dim, got {}",
                                            turns.n_pairs(), slowdown.dump()));
  }
  if (scaling.required("short_factor") != slowdown) {
    scaling.fail("short_factor",
                 "differs from long_factor; one list for every length is supported, as published "
                 "MiniCPM4 configs have it");
  }
  rope["slowdown"] = slowdown;
  // sqrt(1 + ln(extended / trained) / ln(trained))
  rope["magnitude"] = std::sqrt(std::log(extended) / std::log(trained_length(scaling)));
}

}  // namespace

json read_rope(ConfigReader& reader, const Settings& settings, std::int64_t head_dim,
               const RopeRules& rules) {
  static const json none = json::object();
  const bool merged = reader.has("rope_parameters");
  const bool scaled = merged || reader.has("rope_scaling");
  const std::string name = merged ? "rope_parameters" : "rope_scaling";
  reader.ignore({"rope_theta", "rope_scaling", "rope_parameters"});
  ConfigReader scaling(scaled ? reader.required(name) : none, reader.file(), name + ".");

  Turns turns{0, head_dim};
  if (merged) {
    turns.theta = scaling.number("rope_theta");
    reader.only("rope_theta", turns.theta, "rope_parameters says so");
    reader.only("rope_scaling", nullptr, "rope_parameters stands for it");
  } else {
    const bool meant = rules.theta && !reader.has("rope_theta");
    turns.theta = meant ? *rules.theta : reader.number("rope_theta");
  }
  if (turns.theta <= 1) reader.fail("rope_theta", "must be greater than 1");

  json rope = {{"theta", turns.theta}, {"exact_angle", settings.rope_angle == "exact64"}};
  if (!scaled) return rope;
  const char* field = scaling.has("rope_type") ? "rope_type" : "type";
  const std::string type = scaling.text(field);
  scaling.only("type", type, "as rope_type");
  if (type != "default" &&
      std::find(rules.scalings.begin(), rules.scalings.end(), type) == rules.scalings.end()) {
    std::vector<std::string> known = rules.scalings;
    known.insert(known.begin(), "default");
    scaling.fail(field,
                 fmt::format("is '{}'; this family's may be {}", type, fmt::join(known, " or ")));
  }
  scaling.only("partial_rotary_factor", 1.0, "all of a head is rotated");
  if (type == "llama3") scale_llama3(scaling, turns, rope);
  if (type == "yarn") scale_yarn(scaling, turns, rope);
  if (type == "longrope") {
    const std::int64_t extended = reader.positive("max_position_embeddings");
    if (extended < 2) reader.fail("max_position_embeddings", "must be at least 2");
    scale_longrope(scaling, turns, static_cast<double>(extended), rope);
  }
  scaling.finish();
  return rope;
}

}  // namespace sala
