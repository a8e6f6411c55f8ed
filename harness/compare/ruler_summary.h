// RULER's aggregates over tasks and lengths.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sala {

/// The tasks of RULER in the order of its paper.
inline constexpr std::array<std::string_view, 13> kRulerTasks{"niah_single_1",
                                                              "niah_single_2",
                                                              "niah_single_3",
                                                              "niah_multikey_1",
                                                              "niah_multikey_2",
                                                              "niah_multikey_3",
                                                              "niah_multivalue",
                                                              "niah_multiquery",
                                                              "vt",
                                                              "cwe",
                                                              "fwe",
                                                              "qa_1",
                                                              "qa_2"};

/// Score that a length needs to count as effective, in percent: Llama-2-7B-chat's at 4K.
inline constexpr double kRulerThreshold = 85.6;

struct RulerLengthScore {
  std::int64_t length = 0;  // tokens
  double score = 0;         // percent
};

/// The tasks of RULER that are not among these.
std::vector<std::string> missing_ruler_tasks(const std::set<std::string, std::less<>>& tasks);

/// Mean over lengths; `lengths` must not be empty.
double ruler_average(std::span<const RulerLengthScore> lengths);

enum class RulerWeights : std::uint8_t { increasing, decreasing };
/// Mean over lengths weighted 1, 2, 3, ... from the shortest, or from the longest (wAvg inc, dec).
double ruler_weighted_average(std::vector<RulerLengthScore> lengths, RulerWeights weights);

enum class RulerRule : std::uint8_t {
  published,  // the longest length that passes
  strict,     // ... up to which every measured length passes
};
/// The effective length; nothing when no length passes.
std::optional<std::int64_t> ruler_effective_length(std::vector<RulerLengthScore> lengths,
                                                   RulerRule rule);

}  // namespace sala
