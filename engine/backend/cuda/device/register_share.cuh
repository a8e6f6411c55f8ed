// Lets warps that need few registers leave theirs to the others of a CTA.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace sala::cuda {

/// All four warps of a warpgroup go down, or up, to kRegisters a thread, a multiple of 8; going up
/// waits until others have gone down. Where the target cannot, nothing happens.
template <int kRegisters>
__device__ __forceinline__ void keep_registers() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}
template <int kRegisters>
__device__ __forceinline__ void take_registers() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}

}  // namespace sala::cuda
