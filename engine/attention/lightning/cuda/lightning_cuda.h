// Linear attention with a fixed decay on one NVIDIA GPU.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "engine/attention/attention.h"

namespace sala {

/// Throws Error for options that have no kernel: head_dim other than 64 and 128, more than 16384
/// features over all heads.
std::unique_ptr<AttentionLayer> make_lightning_cuda(const LayerSpec& spec, WeightSource& weights,
                                                    Backend& backend);

}  // namespace sala
