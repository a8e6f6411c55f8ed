// The CPU as a device: fp32 throughout, a fixed number of threads.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "engine/backend/backend.h"

namespace sala {

/// threads: 0 = all usable cores. Weights of any dtype become fp32 when uploaded.
std::unique_ptr<Backend> make_cpu_backend(int threads);

}  // namespace sala
