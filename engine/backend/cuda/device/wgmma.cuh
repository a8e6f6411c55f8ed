// Asynchronous products of a Hopper warpgroup: 64 rows in registers times 64 in shared memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/backend/cuda/device/wgmma_operand.h"

namespace sala::cuda {

/// Sums of a (64, 64) product in a warpgroup: warp w holds rows 16w to 16w + 15, registers 4i to
/// 4i + 3 are the c_fragment() of columns 8i to 8i + 7.
using WarpgroupSums = float[32];

/// Makes what this thread wrote to shared memory visible to the products of threads that it meets
/// at a later barrier.
__device__ __forceinline__ void publish_to_wgmma() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/// Orders this warp's earlier uses of registers before the products that follow.
__device__ __forceinline__ void wgmma_begin() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
/// Closes the group of products since the last commit.
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

#define SALA_SUMS(constraint)                                                                   \
  constraint(d[0]), constraint(d[1]), constraint(d[2]), constraint(d[3]), constraint(d[4]),     \
      constraint(d[5]), constraint(d[6]), constraint(d[7]), constraint(d[8]), constraint(d[9]), \
      constraint(d[10]), constraint(d[11]), constraint(d[12]), constraint(d[13]),               \
      constraint(d[14]), constraint(d[15]), constraint(d[16]), constraint(d[17]),               \
      constraint(d[18]), constraint(d[19]), constraint(d[20]), constraint(d[21]),               \
      constraint(d[22]), constraint(d[23]), constraint(d[24]), constraint(d[25]),               \
      constraint(d[26]), constraint(d[27]), constraint(d[28]), constraint(d[29]),               \
      constraint(d[30]), constraint(d[31])
#define SALA_WGMMA                                                                              \
  "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "                                       \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24," \
  "%25,%26,%27,%28,%29,%30,%31}, {%32,%33,%34,%35}, %36, "

/// d = a · bᵀ: a (64, 16), 16 rows a warp in the order of a_fragment(); b (64, 16) at
/// panel_operand(). d and a are in use until a wait.
__device__ __forceinline__ void wgmma_set(WarpgroupSums& d, const std::uint32_t (&a)[4],
                                          std::uint64_t b) {
  asm volatile(SALA_WGMMA "0, 1, 1, 0;"
               : SALA_SUMS("=f")
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
/// d += a · bᵀ.
__device__ __forceinline__ void wgmma_add(WarpgroupSums& d, const std::uint32_t (&a)[4],
                                          std::uint64_t b) {
  asm volatile(SALA_WGMMA "1, 1, 1, 0;"
               : SALA_SUMS("+f")
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
/// Waits for all groups; `d`, sums of the last one, may be read afterwards.
__device__ __forceinline__ void wgmma_wait(WarpgroupSums& d) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" : SALA_SUMS("+f")::"memory");
}

#undef SALA_WGMMA
#undef SALA_SUMS

}  // namespace sala::cuda
