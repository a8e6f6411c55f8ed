// Vega-Lite specifications of the report's figures.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "harness/compare/roofline.h"
#include "reports/analysis.h"

namespace sala {

/// Accuracy by needle depth and length of one subject.
std::string needle_chart(const Analysis& analysis, std::size_t subject);

/// Accuracy of the pair's first subject minus the second's, by needle depth and length.
std::string needle_difference_chart(const Analysis& analysis);

/// Accuracy of one task against length, one line a subject.
std::string accuracy_chart(const Analysis& analysis, const std::string& task);

/// Mean score over tasks against length, one line a subject, with RULER's threshold as a rule.
std::string length_score_chart(const Analysis& analysis);

/// One quantity against length on log axes, one line a subject, with intervals where there are any.
/// scale: divides the value, e.g. 1e6 for nanoseconds shown in milliseconds. crossover: ruled in
/// with its interval; may be null.
std::string length_chart(const Analysis& analysis, const std::string& axis_title, double scale,
                         const std::function<std::optional<Estimate>(const SpeedRow&)>& value,
                         const Crossover* crossover = nullptr);

/// Prefill rate against position in one prompt, one line a subject; rates by subject, some empty.
std::string position_chart(const Analysis& analysis,
                           const std::vector<std::vector<ChunkRate>>& rates);

/// Shares of the gaps between tokens that are no longer than a time, one line a subject.
std::string latency_chart(const Analysis& analysis, std::int64_t length);

/// Negative log-likelihood against position in prompts of a length, one line a subject.
std::string perplexity_chart(const Analysis& analysis, std::int64_t length);

/// Shares of one phase's stages at a length, one bar a subject.
std::string stage_chart(const Analysis& analysis, const std::string& phase, std::int64_t length);

/// Bytes by category at the peak, one bar a subject and length.
std::string memory_chart(const Analysis& analysis);

}  // namespace sala
