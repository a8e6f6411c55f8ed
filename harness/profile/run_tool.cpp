// Finds and runs NVIDIA's profilers.
// SPDX-License-Identifier: Apache-2.0
#include "harness/profile/run_tool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <glob.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "engine/base/error.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

/// Patterns below a root, by tool; * stands for a version.
std::vector<std::string> places_of(const std::string& tool) {
  std::vector<std::string> places{"usr/local/cuda/bin", "usr/local/cuda-*/bin"};
  if (tool == "nsys") {
    places.insert(places.end(),
                  {"opt/nvidia/nsight-systems/*/bin", "opt/nvidia/nsight-systems-cli/*/bin",
                   "usr/local/cuda*/nsight-systems-*/bin"});
  } else {
    places.insert(places.end(),
                  {"opt/nvidia/nsight-compute/*", "usr/local/cuda*/nsight-compute-*"});
  }
  return places;
}

bool is_program(const fs::path& path) {
  return fs::is_regular_file(path) && access(path.c_str(), X_OK) == 0;
}

std::optional<fs::path> find_on_path(const std::string& tool) {
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    fs::path file = fs::path(rest.substr(0, end)) / tool;
    if (file.is_absolute() && is_program(file)) return file;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return std::nullopt;
}

}  // namespace

std::optional<fs::path> find_nsight(const std::string& tool, const fs::path& root) {
  if (auto found = find_on_path(tool)) return found;
  for (const std::string& place : places_of(tool)) {
    glob_t files{};
    glob((root / place / tool).c_str(), 0, nullptr, &files);
    std::optional<fs::path> found;  // in ascending order: versions are years or small numbers
    for (std::size_t i = 0; i < files.gl_pathc; ++i) {
      if (is_program(files.gl_pathv[i])) found = files.gl_pathv[i];
    }
    globfree(&files);
    if (found) return found;
  }
  return std::nullopt;
}

fs::path require_nsight(const std::string& tool, const fs::path& root) {
  if (auto found = find_nsight(tool, root)) return *found;
  std::vector<std::string> places;
  for (const std::string& place : places_of(tool)) places.push_back((root / place).string());
  throw Error(tool,
              "is neither on the PATH nor in {}; install Nsight {} or see the command with --print",
              fmt::join(places, ", "), tool == "nsys" ? "Systems" : "Compute");
}

int run_tool(const std::vector<std::string>& command, bool with_errors,
             const std::function<void(std::string_view)>& on_line) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw Error(command[0], "cannot be started: {}", std::strerror(errno));
  }
  std::vector<std::string> copy = command;
  std::vector<char*> argv;
  argv.reserve(copy.size() + 1);
  for (std::string& word : copy) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
  if (with_errors) posix_spawn_file_actions_adddup2(&files, ends[1], STDERR_FILENO);
  pid_t child = 0;
  const int error = posix_spawn(&child, argv[0], &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  close(ends[1]);
  if (error != 0) {
    close(ends[0]);
    throw Error(command[0], "cannot be started: {}", std::strerror(error));
  }
  std::string line;
  std::array<char, 65536> block{};
  ssize_t n = 0;
  while ((n = read(ends[0], block.data(), block.size())) > 0 || (n < 0 && errno == EINTR)) {
    for (const char c :
         std::string_view(block.data(), static_cast<std::size_t>(std::max<ssize_t>(n, 0)))) {
      if (c != '\n') {
        line += c;
        continue;
      }
      on_line(line);
      line.clear();
    }
  }
  if (!line.empty()) on_line(line);
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    throw Error(command[0], "was ended by signal {}", WTERMSIG(status));
  }
  return WEXITSTATUS(status);
}

}  // namespace sala
