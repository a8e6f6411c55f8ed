// Ctrl-C: closes the run in progress at once and ends the process with exit code 3.
// SPDX-License-Identifier: Apache-2.0
#include "harness/runner/interrupt.h"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "engine/base/error.h"
#include "harness/store/writer.h"

namespace sala {
namespace {

constexpr int kExitInterrupted = 3;

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

InterruptWatch::InterruptWatch() {
  const sigset_t set = watched_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::thread([this] { wait(); });
}

InterruptWatch::~InterruptWatch() {
  is_over_ = true;
  pthread_kill(thread_.native_handle(), SIGINT);  // wakes the thread
  thread_.join();
  const sigset_t set = watched_signals();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void InterruptWatch::wait() {
  const sigset_t set = watched_signals();
  int signal = 0;
  sigwait(&set, &signal);
  if (is_over_) return;
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);  // a second signal ends the process here
  const char* name = signal == SIGINT ? "SIGINT" : "SIGTERM";
  try {
    if (ResultWriter* writer = writer_) writer->close_interrupted(name);
    fmt::print(stderr, "\ninterrupted by {}; give the same command again to go on\n", name);
  } catch (const Error& error) {
    fmt::print(stderr, "\ninterrupted by {}; error: {}\n", name, error.what());
  }
  std::fflush(nullptr);
  _exit(kExitInterrupted);
}

}  // namespace sala
