// Measures what a device can do at best.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/backend.h"
#include "engine/base/ceilings.h"

namespace sala {

/// On all threads of a CPU or on a GPU, in the dtype that it computes in, taking the best of
/// several tries; one or two seconds and 0.6 GB of memory, 2 GB on a GPU. Throws OutOfMemory.
Ceilings measure_ceilings(Backend& backend);

}  // namespace sala
