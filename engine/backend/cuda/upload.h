// Host matrices to the GPU by several threads, each staging through pinned memory of its own.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "engine/backend/backend.h"

namespace sala::cuda {

/// Copies to matrices in bf16 of the current device; waits. One thread's reading of pages is
/// slower than the bus, so several read, and each one's transfers overlap its reading. Takes up to
/// 64 MiB of pinned memory meanwhile. Throws Error when a CUDA call fails.
void upload(std::span<const Transfer> transfers);

}  // namespace sala::cuda
