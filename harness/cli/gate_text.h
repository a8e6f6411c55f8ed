// A gate's verdict as Markdown for a pull request, and as JSON.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "harness/compare/gate.h"

namespace sala {

/// Verdict, the worst number of speed, memory and accuracy, then every number judged, worst first.
std::string gate_markdown(const GateReport& report, bool strict);
/// What was not measured is null.
std::string gate_json(const GateReport& report, bool strict);

/// The noise floors that a calibration found.
std::string floors_markdown(const std::vector<GateItem>& items);
std::string floors_json(const std::vector<GateItem>& items);

}  // namespace sala
