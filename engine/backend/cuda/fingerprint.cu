// Hashes device memory; one pass at copy speed.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/fingerprint.h"

namespace sala::cuda {
namespace {

constexpr int kCta = 256;
constexpr int kCtas = 1024;

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
__device__ __forceinline__ unsigned long long mixed(unsigned long long x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
  return x ^ x >> 31;
}

__global__ void __launch_bounds__(kCta)
    fingerprint_kernel(const std::uint32_t* data, std::int64_t words, unsigned long long* sum) {
  unsigned long long mine = 0;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kCta + threadIdx.x; i < words;
       i += static_cast<std::int64_t>(kCtas) * kCta) {
    mine += mixed(static_cast<unsigned long long>(i) << 32 ^ data[i]);
  }
  atomicAdd(sum, mine);
}

}  // namespace

cudaError_t launch_fingerprint(const void* data, std::int64_t words, unsigned long long* sum,
                               cudaStream_t stream) {
  if (const cudaError_t error = cudaMemsetAsync(sum, 0, sizeof(*sum), stream);
      error != cudaSuccess) {
    return error;
  }
  fingerprint_kernel<<<kCtas, kCta, 0, stream>>>(static_cast<const std::uint32_t*>(data), words,
                                                 sum);
  return cudaGetLastError();
}

}  // namespace sala::cuda
