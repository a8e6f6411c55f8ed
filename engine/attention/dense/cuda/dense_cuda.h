// Full causal softmax attention on one NVIDIA GPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "engine/attention/attention.h"

namespace sala {

/// Throws Error for options that have no kernel: head_dim other than 64 and 128, more than 16 query
/// heads a KV head. The route says what ran a prefill: softmax_cudnn, softmax_cudnn_rectangle, or
/// the project's own softmax_tiles_cuda where cuDNN is missing, refuses, or the call is short.
std::unique_ptr<AttentionLayer> make_dense_cuda(const LayerSpec& spec, WeightSource& weights,
                                                Backend& backend);

}  // namespace sala
