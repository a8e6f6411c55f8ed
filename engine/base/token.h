// The type of a token id.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace sala {

using TokenId = std::int32_t;

}  // namespace sala
