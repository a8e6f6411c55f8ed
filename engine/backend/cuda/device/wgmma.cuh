// Asynchronous products of a Hopper warpgroup: 64 rows times 128 or 256, both in shared memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/backend/cuda/device/wgmma_operand.h"

namespace sala::cuda {

/// Sums of a (64, 128) product in a warpgroup: warp w holds rows 16w to 16w + 15, registers 4i to
/// 4i + 3 are the c_fragment() of columns 8i to 8i + 7.
using WarpgroupSums = float[64];
/// Sums of a (64, 256) product, which lie alike.
using WideSums = float[128];

/// Orders this warp's earlier uses of registers before the products that follow.
__device__ __forceinline__ void wgmma_begin() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
/// Closes the group of products since the last commit.
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

#define SALA_EIGHT(c, i) \
  c(d[i]), c(d[i + 1]), c(d[i + 2]), c(d[i + 3]), c(d[i + 4]), c(d[i + 5]), c(d[i + 6]), c(d[i + 7])
#define SALA_SUMS(c, i)                                                                 \
  SALA_EIGHT(c, i), SALA_EIGHT(c, i + 8), SALA_EIGHT(c, i + 16), SALA_EIGHT(c, i + 24), \
      SALA_EIGHT(c, i + 32), SALA_EIGHT(c, i + 40), SALA_EIGHT(c, i + 48), SALA_EIGHT(c, i + 56)
#define SALA_WIDE_SUMS(c) SALA_SUMS(c, 0), SALA_SUMS(c, 64)

/// d = a · bᵀ + (adds ? d : 0): a (64, 16) and b (128, 16) at panel_operand(). d is in use until a
/// wait.
__device__ __forceinline__ void wgmma_add(WarpgroupSums& d, std::uint64_t a, std::uint64_t b,
                                          bool adds) {
  asm volatile(
      "{\n"
      ".reg .pred adds;\n"
      "setp.ne.b32 adds, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,"
      "%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,"
      "%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, "
      "%64, %65, adds, 1, 1, 0, 0;\n"
      "}"
      : SALA_SUMS("+f", 0)
      : "l"(a), "l"(b), "r"(adds ? 1 : 0));
}
/// The same with b (256, 16).
__device__ __forceinline__ void wgmma_wide(WideSums& d, std::uint64_t a, std::uint64_t b,
                                           bool adds) {
  asm volatile(
      "{\n"
      ".reg .pred adds;\n"
      "setp.ne.b32 adds, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,"
      "%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,"
      "%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,%64,"
      "%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,"
      "%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,%96,%97,%98,%99,%100,%101,%102,%103,%104,"
      "%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,"
      "%121,%122,%123,%124,%125,%126,%127}, "
      "%128, %129, adds, 1, 1, 0, 0;\n"
      "}"
      : SALA_WIDE_SUMS("+f")
      : "l"(a), "l"(b), "r"(adds ? 1 : 0));
}

/// Waits until at most the last group of products is unfinished; no sums may be read.
__device__ __forceinline__ void wgmma_wait_for_earlier() {
  asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
}
/// Waits for all groups; `d`, sums of the last one, may be read afterwards.
__device__ __forceinline__ void wgmma_wait(WarpgroupSums& d) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" : SALA_SUMS("+f", 0)::"memory");
}
__device__ __forceinline__ void wgmma_wait(WideSums& d) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" : SALA_WIDE_SUMS("+f")::"memory");
}

#undef SALA_WIDE_SUMS
#undef SALA_SUMS
#undef SALA_EIGHT

}  // namespace sala::cuda
