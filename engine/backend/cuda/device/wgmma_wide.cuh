// Asynchronous products of a Hopper warpgroup: 64 rows times 256, both in shared memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/cuda/device/wgmma.cuh"

namespace sala::cuda {

/// Sums of a (64, 256) product in a warpgroup, which lie like WarpgroupSums.
using WideSums = float[128];

#define SALA_EIGHT(c, i) \
  c(d[i]), c(d[i + 1]), c(d[i + 2]), c(d[i + 3]), c(d[i + 4]), c(d[i + 5]), c(d[i + 6]), c(d[i + 7])
#define SALA_WIDE_SUMS(c)                                                                      \
  SALA_EIGHT(c, 0), SALA_EIGHT(c, 8), SALA_EIGHT(c, 16), SALA_EIGHT(c, 24), SALA_EIGHT(c, 32), \
      SALA_EIGHT(c, 40), SALA_EIGHT(c, 48), SALA_EIGHT(c, 56), SALA_EIGHT(c, 64),              \
      SALA_EIGHT(c, 72), SALA_EIGHT(c, 80), SALA_EIGHT(c, 88), SALA_EIGHT(c, 96),              \
      SALA_EIGHT(c, 104), SALA_EIGHT(c, 112), SALA_EIGHT(c, 120)

/// d = a · bᵀ + (adds ? d : 0): a (64, 16) and b (256, 16) at panel_operand(). d is in use until a
/// wait.
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
/// Waits for all groups; `d` may be read afterwards.
__device__ __forceinline__ void wgmma_wait(WideSums& d) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" : SALA_WIDE_SUMS("+f")::"memory");
}

#undef SALA_WIDE_SUMS
#undef SALA_EIGHT

}  // namespace sala::cuda
