// What the machine lets this process use: memory, cores, and its name.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace sala {

/// Bytes that could be allocated without swapping: the kernel's estimate, or less in a container.
std::int64_t available_memory_bytes();
std::int64_t installed_memory_bytes();
std::string cpu_model_name();
/// Cores this process may run on: affinity, OMP_NUM_THREADS and the container's CPU quota.
int usable_cores();

}  // namespace sala
