// Benchmarks of making prompts.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace sala {

/// Registers with Google Benchmark: one prompt of 1M tokens of each RULER task in strict mode, and
/// in official mode of those that need no data files.
void add_prompt_benchmarks();

}  // namespace sala
