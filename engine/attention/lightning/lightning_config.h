// Options of linear attention with a fixed decay.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "engine/attention/options.h"

namespace sala {

struct LightningConfig {
  HeadOptions heads;
  bool output_norm = true;  // RMS norm over all heads together

  static LightningConfig read(const LayerSpec& spec) {
    const Options options = layer_options(spec);
    return {read_heads(options), options.flag("output_norm", true)};
  }
};

/// Decay rate s of every head; a state fades by e^-s a token. A power of two n has 2^(-8 (h+1) /
/// n); other counts take the next lower power of two and every second rate of its double.
std::vector<double> lightning_slopes(std::int64_t n_heads);

}  // namespace sala
