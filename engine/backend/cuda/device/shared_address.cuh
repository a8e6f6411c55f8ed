// Shared-memory pointers as the 32-bit addresses that PTX takes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace sala::cuda {

__device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

}  // namespace sala::cuda
