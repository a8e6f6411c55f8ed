// One NVIDIA GPU as a device: bf16 weights, activations and caches, fp32 sums, one stream.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>

#include "engine/backend/backend.h"

namespace sala {

/// What layers of this device see beyond Backend. They get it by casting the Backend& that their
/// maker receives: `static_cast<CudaBackend&>(backend)`.
class CudaBackend : public Backend {
 public:
  /// Everything runs on this stream, in order; nothing on the default stream.
  virtual cudaStream_t stream() const = 0;
  /// Device memory: tokens in context before the forward call that runs now. A call of one row
  /// must use it instead of the length of its state, since its kernels may be replayed later.
  virtual const std::int32_t* position() const = 0;
  virtual const cudaDeviceProp& properties() const = 0;
};

/// Whether a driver sees a GPU at all; whether it suits this build, make_cuda_backend() finds out.
bool has_cuda_device();

/// index: of the GPU among those that are visible. Throws Error when there is none, the driver is
/// too old, or this build has no code for it.
std::unique_ptr<CudaBackend> make_cuda_backend(int index);

}  // namespace sala
