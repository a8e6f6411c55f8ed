// The scoring functions, and what they share.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "harness/scorer.h"

namespace sala {

/// RULER's string_match_all: the share of references found in the answer, ignoring ASCII case.
Score score_ruler_all(const std::vector<std::string>& references, const Answer& answer);
/// RULER's string_match_part: 1 when any reference is found.
Score score_ruler_part(const std::vector<std::string>& references, const Answer& answer);
/// 1 when the first run of digits equals the reference as a number.
Score score_passkey(const std::vector<std::string>& references, const Answer& answer);
/// Geometric mean of the probabilities of the prompt's tokens; detail: nll by position, in buckets
/// [2^b, 2^(b+1)). Throws Error when the log-probabilities are missing or not finite.
Score score_perplexity(const std::vector<std::string>& references, const Answer& answer);

/// RULER's post-processing of a prediction: control characters to line feeds, white space stripped.
std::string ruler_post_process(std::string_view text);

/// Smallest number of bytes to insert, delete or replace that turns a into b.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// Class of an answer that lacks `reference`: empty, truncated, garbled, format or miss.
std::string error_class(std::string_view answer, std::string_view reference, bool hit_token_limit);

}  // namespace sala
