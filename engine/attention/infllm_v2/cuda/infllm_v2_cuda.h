// Block-sparse softmax attention on one NVIDIA GPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "engine/attention/attention.h"

namespace sala {

/// Throws Error for options that have no kernel: kernel_stride other than 16, head_dim other than
/// 64 and 128, more than 16 query heads a KV head, select_score fp32, more than 640 chosen blocks.
std::unique_ptr<AttentionLayer> make_infllm_v2_cuda(const LayerSpec& spec, WeightSource& weights,
                                                    Backend& backend);

}  // namespace sala
