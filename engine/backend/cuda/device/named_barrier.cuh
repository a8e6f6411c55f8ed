// Numbered barriers of a CTA, at which some of its warps wait for others.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace sala::cuda {

/// Whole warps arrive or wait; those who wait go on when n_threads have done either.
/// __syncthreads() is number 0.
__device__ __forceinline__ void named_barrier_arrive(int number, int n_threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(number), "r"(n_threads) : "memory");
}
__device__ __forceinline__ void named_barrier_wait(int number, int n_threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(n_threads) : "memory");
}

}  // namespace sala::cuda
