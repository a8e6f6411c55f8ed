// Stops the compiler from computing ahead of a loop what has no room in registers during it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace sala::cuda {

/// Hides from the compiler that x is the same in every round of a loop, so that what is cheaply
/// computed from x is computed where it is used.
__device__ __forceinline__ void keep_in_loop(float& x) {
  asm volatile("" : "+f"(x));
}
__device__ __forceinline__ void keep_in_loop(int& x) {
  asm volatile("" : "+r"(x));
}

}  // namespace sala::cuda
