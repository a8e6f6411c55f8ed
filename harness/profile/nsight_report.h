// Reads back what Nsight Systems and Nsight Compute recorded.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

#include "harness/profile/kernel_table.h"

namespace sala {

struct NsightReport {
  std::string tool;  // nsys or ncu
  KernelTable kernels;
};

/// file: .nsys-rep or .ncu-rep, which need the tool itself, or what it made of them: .sqlite, .csv.
/// An export of nsys stays beside its report, whole or not at all. Throws Error for other files,
/// those that cannot be read, and a tool that is missing or fails.
NsightReport read_nsight_report(const std::filesystem::path& file);

}  // namespace sala
