// Which GPUs run the kernels for Hopper.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

namespace sala::cuda {

/// No later GPU runs them: their instructions are those of compute capability 9.0 alone.
inline bool is_hopper(const cudaDeviceProp& gpu) {
  return gpu.major == 9 && gpu.minor == 0;
}

}  // namespace sala::cuda
