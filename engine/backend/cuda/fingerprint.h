// A number by which the contents of device memory are told apart.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace sala::cuda {

/// *sum (device memory) = the sum over all words of a hash of the word and its place. data: `words`
/// words of 4 bytes. The order of integer additions does not matter: equal contents, equal sum.
cudaError_t launch_fingerprint(const void* data, std::int64_t words, unsigned long long* sum,
                               cudaStream_t stream);

}  // namespace sala::cuda
