// Lower case as Python's str.lower has it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace sala {

/// The text with full Unicode 14 lower-casing, capital sigma by its place in the word included;
/// bytes that are not UTF-8 stay as they are.
std::string lower(std::string_view text);

}  // namespace sala
