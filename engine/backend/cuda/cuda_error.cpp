// Messages of failed CUDA calls.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/cuda_error.h"

#include "engine/base/error.h"

namespace sala {
namespace {

const char* advice(cudaError_t error) {
  switch (error) {
    case cudaErrorNoDevice:
      return "no NVIDIA GPU is visible; try --device cpu, or look at CUDA_VISIBLE_DEVICES";
    case cudaErrorInsufficientDriver:
    case cudaErrorSystemDriverMismatch:
      return "the NVIDIA driver is older than this build needs; update it or try --device cpu";
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      return "this build has no code for this GPU; configure with its CMAKE_CUDA_ARCHITECTURES";
    case cudaErrorDevicesUnavailable:
      return "another process holds the GPU alone; wait for it or choose another, --device cuda:1";
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorIllegalInstruction:
      return "a kernel failed and the GPU is lost to this process; start it again, and report the "
             "output of compute-sanitizer on the same command";
    default:
      return "try again with CUDA_LAUNCH_BLOCKING=1 to see which call failed first";
  }
}

}  // namespace

void check_cuda(cudaError_t error, const char* expression) {
  if (error == cudaSuccess) return;
  cudaGetLastError();
  if (error == cudaErrorMemoryAllocation) {
    std::size_t free_bytes = 0;
    std::size_t total_bytes = 0;
    cudaMemGetInfo(&free_bytes, &total_bytes);
    throw OutOfMemory("cuda", "workspace", 0, static_cast<std::int64_t>(free_bytes), false);
  }
  throw Error("cuda", "{} failed with {} ({}); {}", expression, cudaGetErrorName(error),
              cudaGetErrorString(error), advice(error));
}

void check_cublas(cublasStatus_t status, const char* expression) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error("cuBLASLt", "{} failed with {} ({}); try again with CUBLASLT_LOG_LEVEL=2", expression,
              cublasLtGetStatusName(status), cublasLtGetStatusString(status));
}

}  // namespace sala
