// What this machine can do at best, measured: the yardstick of every benchmark.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/backend.h"

namespace sala {

struct Ceilings {
  double gemm_flops_per_s = 0;  // the matrix library's square product in the compute dtype
  double copy_bytes_per_s = 0;  // bytes read plus bytes written by a copy larger than the caches
};

/// Measures both on all threads of a CPU or on a GPU, taking the best of several tries; about a
/// second and 0.6 GB of memory, 2 GB on a GPU. Throws OutOfMemory.
Ceilings measure_ceilings(Backend& backend);

}  // namespace sala
