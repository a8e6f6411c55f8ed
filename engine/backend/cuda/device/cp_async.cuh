// Asynchronous copies from global to shared memory, 16 bytes a thread, in committed groups.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/backend/cuda/device/shared_address.cuh"

namespace sala::cuda {

/// Copies 16 bytes, both ends 16-byte aligned, past the L1 cache. When !valid it writes zeros and
/// reads nothing, wherever `from` points.
__device__ __forceinline__ void cp_async_16(void* to, const void* from, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(shared_address(to)), "l"(from), "r"(valid ? 16 : 0)
               : "memory");
}

/// Closes the group of copies issued by this thread since the last commit.
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/// Waits until at most kPending of this thread's latest groups are unfinished. Other threads see
/// the data after a barrier.
template <int kPending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace sala::cuda
