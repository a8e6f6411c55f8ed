// A request's timeline as Chrome's trace JSON, which Perfetto shows.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "engine/request.h"

namespace sala {

/// Larger files make the viewers unusable.
constexpr std::size_t kMostTraceBytes = 100'000'000;

/// Every stage as a complete event in µs from the first one, inside events of its phase and layer,
/// each from its first stage to its last. title: of the process; device: cpu or cuda:0.
/// Throws Error when it takes more than most_bytes.
/// Source: "Trace Event Format", JSON object format.
std::string chrome_trace(const Output& output, const std::string& title, const std::string& device,
                         std::size_t most_bytes = kMostTraceBytes);

}  // namespace sala
