// Whether sparse equals dense where a query may read every block: a test of the path itself.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "engine/engine.h"

namespace sala {

/// Options that send every prompt down the sparse path, the shortest too.
EngineOptions always_sparse(EngineOptions options);

struct SelfTest {
  std::int64_t n_tokens = 0;
  double difference = 0;  // largest of two logits, over the largest logit
  double tolerance = 0;
  bool passed = false;
  std::string reason;  // why not
};

/// Runs the tokens through an engine of always_sparse() options and through the dense one, and
/// compares the logits of the last positions. One of the two is unloaded while the other runs. At
/// most as many tokens as a query may read.
SelfTest run_self_test(Engine& sparse, Engine& dense, std::span<const TokenId> tokens);

}  // namespace sala
