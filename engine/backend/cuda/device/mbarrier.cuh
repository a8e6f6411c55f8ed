// Barriers in shared memory on which some warps wait for what others, or their copies, have done.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/backend/cuda/device/shared_address.cuh"

namespace sala::cuda {

/// A phase ends with its n-th arrival, and the next one begins; the first phase has parity 0. One
/// thread initialises, a __syncthreads() lets the others use it.
__device__ __forceinline__ void mbarrier_init(std::uint64_t* barrier, int n_arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(n_arrivals)
               : "memory");
}

/// Arrives; what this thread wrote or read before is done for those who wait.
__device__ __forceinline__ void mbarrier_arrive(std::uint64_t* barrier) {
  asm volatile(
      "{\n"
      ".reg .b64 state;\n"
      "mbarrier.arrive.shared.b64 state, [%0];\n"
      "}" ::"r"(shared_address(barrier))
      : "memory");
}

/// The same for n arrivals.
__device__ __forceinline__ void mbarrier_arrive(std::uint64_t* barrier, int n) {
  asm volatile(
      "{\n"
      ".reg .b64 state;\n"
      "mbarrier.arrive.shared.b64 state, [%0], %1;\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(n)
      : "memory");
}

/// Arrives when all cp_async copies that this thread has started so far are done. Returns at once.
/// `noinc`: the arrival is one of those that the barrier was initialised with.
__device__ __forceinline__ void mbarrier_arrive_after_copies(std::uint64_t* barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(shared_address(barrier))
               : "memory");
}

/// Waits for the end of the latest phase of that parity: before the first phase has ended, parity 1
/// counts as over. Nobody may be two phases behind.
__device__ __forceinline__ void mbarrier_wait(std::uint64_t* barrier, std::uint32_t parity) {
#if __CUDA_ARCH__ >= 900
#define SALA_MBARRIER_WAIT "mbarrier.try_wait"  // sleeps for a while
#else
#define SALA_MBARRIER_WAIT "mbarrier.test_wait"
#endif
  std::uint32_t is_over = 0;
  do {
    asm volatile(
        "{\n"
        ".reg .pred over;\n" SALA_MBARRIER_WAIT
        ".parity.shared.b64 over, [%1], %2;\n"
        "selp.u32 %0, 1, 0, over;\n"
        "}"
        : "=r"(is_over)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
  } while (is_over == 0);
#undef SALA_MBARRIER_WAIT
}

}  // namespace sala::cuda
