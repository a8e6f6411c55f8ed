// A place in a ring of stages that are used over and over.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/backend/cuda/device/fragment.h"

namespace sala::cuda {

/// A stage and the parity of its present use.
struct RingPlace {
  int stage = 0;
  std::uint32_t parity = 0;

  SALA_HOST_DEVICE constexpr void advance(int n_stages) {
    if (++stage == n_stages) {
      stage = 0;
      parity ^= 1U;
    }
  }
};

}  // namespace sala::cuda
