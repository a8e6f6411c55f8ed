// Runs the same work in processes of two binaries next to each other, each with its own database.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/process_pairs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>

#include "engine/base/error.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

volatile std::sig_atomic_t interrupted = 0;
volatile std::sig_atomic_t child_in_progress = 0;

// The handler may run between the start of a child and the note of its id, so the loop in wait_for
// passes the signal on as well.
void on_signal(int) {
  interrupted = 1;
  if (child_in_progress > 0) kill(child_in_progress, SIGTERM);
}

void handle_signals(void (*handler)(int)) {
  struct sigaction action{};
  action.sa_handler = handler;
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
}

int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    if (interrupted != 0) kill(child, SIGTERM);
  }
  return status;
}

/// Runs a program with its output in a file; returns the wait status.
int run_program(const std::vector<std::string>& arguments, const fs::path& output) {
  std::vector<std::string> copy = arguments;
  std::vector<char*> argv;
  argv.reserve(copy.size() + 1);
  for (std::string& argument : copy) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, output.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0644);
  pid_t child = 0;
  const int error = posix_spawn(&child, argv[0], &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (error != 0) {
    throw Error(arguments[0], "cannot be started: {}; name the sala binary of a build",
                std::strerror(error));
  }
  child_in_progress = child;
  const int status = wait_for(child);
  child_in_progress = 0;
  return status;
}

std::string end_of(const fs::path& path) {
  constexpr std::size_t kMost = 600;
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.size() > kMost) text = "..." + text.substr(text.size() - kMost);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::string ended(int status) {
  if (WIFSIGNALED(status)) return fmt::format("was ended by signal {}", WTERMSIG(status));
  return fmt::format("ended with exit code {}", WEXITSTATUS(status));
}

}  // namespace

ProcessPairs::ProcessPairs(PairCommand command, Report report)
    : command_(std::move(command)), report_(std::move(report)) {
  std::error_code error;
  fs::create_directories(command_.folder, error);
  if (error) {
    throw Error(command_.folder.string(), "the folder cannot be made: {}", error.message());
  }
  interrupted = 0;
  handle_signals(on_signal);
}

ProcessPairs::~ProcessPairs() {
  handle_signals(SIG_DFL);
}

ComparedSide ProcessPairs::run_side(const char* side, const fs::path& binary,
                                    const std::vector<Work>& work) const {
  const fs::path database = command_.folder / fmt::format("{:04}-{}.db", taken_, side);
  const fs::path log = command_.folder / fmt::format("{:04}-{}.log", taken_, side);
  for (const Work& part : work) {
    if (interrupted != 0) throw Interrupted();
    std::vector<std::string> arguments{binary.string()};
    arguments.insert(arguments.end(), part.begin(), part.end());
    arguments.insert(arguments.end(), {"--db", database.string()});
    const int status = run_program(arguments, log);
    if (interrupted != 0) throw Interrupted();
    if (status != 0) throw Error(binary.string(), "{}: {}", ended(status), end_of(log));
  }
  return {.results = ResultReader(database).results(), .side = ""};
}

std::pair<ComparedSide, ComparedSide> ProcessPairs::take(const std::vector<Work>& work) {
  ++taken_;
  const bool baseline_first = taken_ % 2 == 1;
  std::pair<ComparedSide, ComparedSide> subjects;
  for (const bool is_first : {true, false}) {
    const bool is_baseline = is_first == baseline_first;
    report_(fmt::format("pair {}: {}", taken_, is_baseline ? "baseline" : "candidate"));
    if (is_baseline) {
      subjects.first = run_side("baseline", command_.baseline_binary, work);
    } else {
      subjects.second = run_side("candidate", command_.candidate_binary, work);
    }
  }
  return subjects;
}

}  // namespace sala
