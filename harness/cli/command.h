// A command of the program: one file each, one row each in registry.cpp.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <span>

namespace sala {

/// Does the work after parsing; returns the exit code.
using Action = std::function<int()>;

struct Command {
  const char* name;
  const char* summary;
  Action (*setup)(CLI::App& app);  // declares the options on the subcommand
  int usage_error = 2;             // exit code for a command line that cannot be read
};

std::span<const Command> commands();

}  // namespace sala
