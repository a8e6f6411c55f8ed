// Asserts that something throws an Error which says certain things.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <initializer_list>
#include <string>

#include "engine/base/error.h"

namespace sala::testing {

/// The call must throw Error, and its message must hold every part.
inline void expect_error(const std::function<void()>& call,
                         std::initializer_list<std::string> parts) {
  try {
    call();
  } catch (const Error& error) {
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "'" << part << "' is not in: " << error.what();
    }
    return;
  }
  ADD_FAILURE() << "no Error; expected one that says " << *parts.begin();
}

}  // namespace sala::testing
