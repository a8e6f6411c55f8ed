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

  struct Choice {
    CLI::App* app;
    sala::Action action;
    int usage_error;
  };
  std::vector<Choice> choices;
  for (const sala::Command& command : sala::commands()) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    choices.push_back({sub, command.setup(*sub), command.usage_error});
  }
  try {
    app.parse(argc, argv);
    for (const Choice& choice : choices) {
      if (choice.app->parsed()) return choice.action();
    }
  } catch (const CLI::ParseError& error) {
    if (app.exit(error) == 0) return 0;  // prints help or the message
    for (const Choice& choice : choices) {
      if (choice.app->parsed()) return choice.usage_error;
    }
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 2;
  }
  return 2;
}
