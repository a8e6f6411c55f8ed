// Linear attention with a fixed decay per head.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "engine/attention/attention.h"
#include "engine/attention/lightning/lightning_config.h"
#include "engine/attention/lightning/lightning_state.h"
#include "engine/attention/reference_math.h"

namespace sala {

std::unique_ptr<AttentionLayer> make_lightning_cpu(const LayerSpec& spec, WeightSource& weights,
                                                   Backend& backend);

/// The layer in fp64 by the recurrence of the model reference §4.1: x, result (n_tokens, hidden).
std::vector<double> lightning_reference(const LayerSpec& spec, const ReferenceWeights& weights,
                                        const std::vector<double>& x);

}  // namespace sala
