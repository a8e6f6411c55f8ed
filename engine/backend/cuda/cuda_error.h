// Turns failed CUDA calls into errors that say where, what and what to try.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

namespace sala {

/// Throws Error for anything but success; expression: the call as written, for the message. Running
/// out of memory becomes OutOfMemory of the category "workspace". Leaves no error behind for the
/// next call, unless the device is lost: then every later call fails too, and the message says so.
void check_cuda(cudaError_t error, const char* expression);
void check_cublas(cublasStatus_t status, const char* expression);

}  // namespace sala

/// SALA_CUDA(cudaMalloc(&p, n)): throws when the call fails. Launchers return cudaGetLastError().
#define SALA_CUDA(expression) ::sala::check_cuda((expression), #expression)
#define SALA_CUBLAS(expression) ::sala::check_cublas((expression), #expression)
