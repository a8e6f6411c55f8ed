// A kernel that does nothing but exponentials.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace sala::cuda {

/// Every thread of a grid that fills n_sm multiprocessors runs chains of exponentials and writes
/// what they come to; out: exp_rate_outputs(n_sm) floats.
cudaError_t launch_exp_rate(float* out, int n_sm, cudaStream_t stream);
std::int64_t exp_rate_outputs(int n_sm);
/// Exponentials of one launch.
double exp_rate_count(int n_sm);

}  // namespace sala::cuda
