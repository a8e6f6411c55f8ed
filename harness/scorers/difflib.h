// The similarity of Python's difflib, junk heuristic included.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace sala {

/// SequenceMatcher(None, a, b).ratio() on code points, equal to Python's to the last bit. Not
/// symmetric: where b has 200 code points or more, those that make up over 1 % of it start no
/// match.
double sequence_ratio(std::string_view a, std::string_view b);

}  // namespace sala
