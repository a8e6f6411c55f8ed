// Ctrl-C: closes the run in progress at once, reports, and ends the process with exit code 3.
// SPDX-License-Identifier: Apache-2.0
#include "harness/runner/interrupt.h"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <utility>

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

void InterruptWatch::watch(ResultWriter& writer, std::function<void(const std::string&)> report) {
  const std::lock_guard lock(mutex_);
  writer_ = &writer;
  report_ = std::move(report);
}

void InterruptWatch::stop() {
  const std::lock_guard lock(mutex_);
  writer_ = nullptr;
}

void InterruptWatch::wait() {
  const sigset_t set = watched_signals();
  int signal = 0;
  sigwait(&set, &signal);
  if (is_over_) return;
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);  // a second signal ends the process here
  const char* name = signal == SIGINT ? "SIGINT" : "SIGTERM";
  const std::lock_guard lock(mutex_);
  try {
    if (writer_ == nullptr) {
      fmt::print(stderr, "\ninterrupted by {}\n", name);
    } else {
      writer_->close_interrupted(name);
      report_(name);
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "\ninterrupted by {}; error: {}\n", name, error.what());
  }
  std::fflush(nullptr);
  _exit(kExitInterrupted);
}

}  // namespace sala
