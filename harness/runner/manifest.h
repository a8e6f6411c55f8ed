// What surrounds a run: machine, binary, and the settings that can move a number.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "harness/store/rows.h"

namespace sala {

/// The machine and the binary of this process. The same for every process of one binary on one
/// machine with equal settings, so nothing that changes by itself is in it.
EnvironmentRow capture_environment();

/// Adds the driver and the limits of a side's GPU, or why they cannot be read.
void add_gpu(EnvironmentRow& row, const DeviceInfo& gpu);

/// The arguments of this process, its name first.
std::vector<std::string> command_line();

/// Environment variables that change speed or results (OMP_*, SALA_*, OPENBLAS_*, ...), as a JSON
/// object.
std::string relevant_variables();

/// Largest resident memory of the process since reset_host_peak(), in bytes; 0 when not readable.
std::int64_t host_peak_bytes();
void reset_host_peak();

}  // namespace sala
