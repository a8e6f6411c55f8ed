// Parses the command line, runs one command, turns errors into one line and an exit code.
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <vector>

#include "engine/base/build_info.h"
#include "engine/base/error.h"
#include "harness/cli/command.h"

int main(int argc, char** argv) {
  CLI::App app{
      "sala: long-context evaluation and profiling with a built-in hybrid inference engine"};
  app.set_version_flag("--version", sala::build_info().version_line());
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "Help of every command");

  std::vector<std::pair<CLI::App*, sala::Action>> actions;
  for (const sala::Command& command : sala::commands()) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    actions.emplace_back(sub, command.setup(*sub));
  }
  try {
    app.parse(argc, argv);
    for (const auto& [sub, action] : actions) {
      if (sub->parsed()) return action();
    }
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);  // prints help or the message
    return code == 0 ? 0 : 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 2;
  }
  return 2;
}
