// The extension point for reports: a format writes results to a stream.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iosfwd>
#include <span>
#include <string_view>

#include "harness/store/reader.h"

namespace sala {

/// Equal results give equal bytes: no clock, no random numbers, no locale.
struct Report {
  std::string_view name;       // of --format
  std::string_view extension;  // of output files, with the dot
  std::string_view summary;    // one line
  void (*write)(const Results& results, std::ostream& out);
};

std::span<const Report> reports();

}  // namespace sala
