// Equal requests in a long conversation, one of whose answers is to be repeated: after MRCR.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "harness/task.h"

namespace sala {

/// A conversation in plain turns whose answers are made-up prose; two, four or eight requests are
/// the same, and one of their answers is asked for again, with a random string in front of it.
std::unique_ptr<Task> make_turns_2(const char* name, const char* summary);
std::unique_ptr<Task> make_turns_4(const char* name, const char* summary);
std::unique_ptr<Task> make_turns_8(const char* name, const char* summary);

}  // namespace sala
