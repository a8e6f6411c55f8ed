// Command lines that run a program under Nsight Systems or Nsight Compute.
// SPDX-License-Identifier: Apache-2.0
#include "harness/profile/nsight_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/base/error.h"
#include "harness/profile/ncu_reader.h"

namespace sala {

NsightCommand nsight_command(const std::string& tool, const std::string& stage,
                             const std::string& report, const std::vector<std::string>& program) {
  NsightCommand command;
  if (tool == "nsys") {
    if (!stage.empty()) {
      throw Error("--stage", "chooses kernels for ncu; nsys shows every stage, leave it out");
    }
    command = {{"nsys", "profile", "--trace=cuda,nvtx", "--sample=none", "--cpuctxsw=none",
                "--cuda-graph-trace=node", "--capture-range=nvtx", "--nvtx-capture=request@sala",
                "--capture-range-end=stop", "--force-overwrite=true"},
               report + ".nsys-rep"};
  } else if (tool == "ncu") {
    // The slash says that ranges are pushed and popped.
    command = {{"ncu", "--nvtx", "--nvtx-include",
                fmt::format("sala@{}/", stage.empty() ? "request" : stage), "--clock-control",
                "none", "--cache-control", "none", "--force-overwrite"},
               report + ".ncu-rep"};
    std::vector<std::string>& words = command.words;
    if (stage.empty()) {
      words.insert(words.end(), {"--metrics", kNcuDuration});
    } else {
      words.insert(words.end(), {"--launch-count", "8", "--set", "full", "--metrics",
                                 fmt::format("{},{}", kNcuDuration, fmt::join(kNcuCounters, ","))});
    }
  } else {
    throw Error("--nsight", "'{}' is not nsys or ncu", tool);
  }
  command.words.insert(command.words.end(), {"-o", report});
  command.words.insert(command.words.end(), program.begin(), program.end());
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
