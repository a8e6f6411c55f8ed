// Reads the SQLite export of Nsight Systems.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include "harness/profile/kernel_table.h"

namespace sala {

/// Kernels by the innermost range of domain sala that was open on the launching thread. Never
/// writes to the file. Throws Error for a file that is no export, is damaged, or holds no kernels
/// or no such ranges.
/// Source: "SQLite Schema Reference" of the Nsight Systems user guide.
KernelTable read_nsys_export(const std::filesystem::path& path);

}  // namespace sala
