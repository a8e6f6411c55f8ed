// The end of the line for a broken invariant.
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/error.h"

#include <cstdio>
#include <cstdlib>

namespace sala {

void check_failed(const char* condition, const char* why, const char* file, int line) {
  fmt::print(stderr, "{}:{}: check failed: {} ({})\n", file, line, condition, why);
  std::abort();
}

}  // namespace sala
