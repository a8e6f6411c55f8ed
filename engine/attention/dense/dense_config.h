// Options of full softmax attention.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/attention/options.h"

namespace sala {

/// Full attention has no options beyond those of its heads.
struct DenseConfig {
  HeadOptions heads;

  static DenseConfig read(const LayerSpec& spec) { return {read_heads(layer_options(spec))}; }
};

}  // namespace sala
