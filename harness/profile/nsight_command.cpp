// Command lines that run a program under Nsight Systems or Nsight Compute.
// SPDX-License-Identifier: Apache-2.0
#include "harness/profile/nsight_command.h"

#include "engine/base/error.h"

namespace sala {

std::vector<std::string> nsight_command(const std::string& tool, const std::string& stage,
                                        const std::string& report,
                                        const std::vector<std::string>& program) {
  std::vector<std::string> command;
  if (tool == "nsys") {
    if (!stage.empty()) {
      throw Error("--stage", "chooses kernels for ncu; nsys shows every stage, leave it out");
    }
    command = {"nsys",
               "profile",
               "--trace=cuda,nvtx",
               "--cuda-graph-trace=node",
               "--capture-range=nvtx",
               "--nvtx-capture=request@sala",
               "--capture-range-end=stop"};
  } else if (tool == "ncu") {
    if (stage.empty()) {
      throw Error("--stage",
                  "is missing; ncu runs each kernel dozens of times, so name one stage of the "
                  "table, e.g. prefill.lightning.qkv");
    }
    // The slash says that ranges are pushed and popped.
    command = {"ncu",   "--nvtx", "--nvtx-include", "sala@" + stage + "/", "--launch-count", "8",
               "--set", "full"};
  } else {
    throw Error("--nsight", "'{}' is not nsys or ncu", tool);
  }
  command.insert(command.end(), {"-o", report});
  command.insert(command.end(), program.begin(), program.end());
  return command;
}

std::string shell_line(const std::vector<std::string>& command) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-";
  std::string line;
  for (const std::string& word : command) {
    if (!line.empty()) line += ' ';
    if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) {
      line += word;
      continue;
    }
    line += '\'';
    for (const char c : word) {
      if (c == '\'') {
        line += R"('\'')";
      } else {
        line += c;
      }
    }
    line += '\'';
  }
  return line;
}

}  // namespace sala
