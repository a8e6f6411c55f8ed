// Work of a stream, captured as a CUDA graph.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>

#include "engine/backend/backend.h"

namespace sala {

/// Captures what `work` launches on the stream. An exception of `work` ends the capture and goes on
/// to the caller.
std::unique_ptr<Recording> record_graph(cudaStream_t stream, const std::function<void()>& work);

}  // namespace sala
