// Chains of variable assignments hidden in noise.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "tasks/fit.h"

namespace sala {

/// Statements `VAR a = value`, `VAR b = VAR a `, ...; all but the first end in a space, as upstream
/// writes them.
std::vector<std::string> chain_statements(const std::vector<std::string>& names,
                                          const std::string& value);

/// n noise lines with statement j before line before[j], ascending; the spans are the statements'.
Draft chain_context(std::size_t n, const std::vector<std::string>& statements,
                    const std::vector<std::size_t>& before);

}  // namespace sala
