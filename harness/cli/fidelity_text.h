// What `sala fidelity` prints: a table a question, or JSON.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "harness/fidelity/self_test.h"
#include "harness/store/reader.h"

namespace sala {

std::string self_test_text(const SelfTest& test);

/// Selection and divergence a cell in one line each, then who missed what.
std::string fidelity_text(const Results& results);

/// {"db","sweep","self_test","cells":[{..., "whole", "layers", "heads", "divergence"}]}; what was
/// not measured is null. results: null before any cell ran.
std::string fidelity_json(const SelfTest& test, const Results* results, const std::string& db);

}  // namespace sala
