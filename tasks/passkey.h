// A five-digit key hidden in noise at a uniformly drawn place.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "harness/task.h"

namespace sala {

/// Strings of epfml/landmark-attention; the noise grows by single characters up to the limit, so a
/// cut may fall inside a word, as it does there.
std::unique_ptr<Task> make_passkey(const char* name, const char* summary);

}  // namespace sala
