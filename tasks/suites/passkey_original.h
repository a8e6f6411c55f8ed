// Passkey prompts as the repositories that made them famous build them, character by character.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "tasks/fit.h"
#include "tasks/numpy_random.h"
#include "tasks/python_random.h"

namespace sala {

struct PasskeyPrompt {
  Draft draft;
  std::string key;
  std::int64_t n_before = 0;  // characters of noise before the key
};

/// epfml/landmark-attention: the next draws of `random` with n characters of noise. Throws Error
/// when the noise is longer than published.
PasskeyPrompt landmark_passkey(PythonRandom& random, std::int64_t n);

/// dvlab-research/LongLoRA: test number `test` with n characters of noise.
PasskeyPrompt longlora_passkey(std::uint32_t test, std::int64_t n);

}  // namespace sala
