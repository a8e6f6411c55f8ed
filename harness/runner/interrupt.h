// Ctrl-C: closes the run in progress at once and ends the process with exit code 3.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <thread>

namespace sala {

class ResultWriter;

/// Waits for SIGINT and SIGTERM on a thread of its own, because a sample in flight may take
/// minutes; that sample is dropped, all earlier ones are stored. A second signal ends the process
/// without waiting for the database. Make it before any other thread, whose signals it blocks.
class InterruptWatch {
 public:
  InterruptWatch();
  ~InterruptWatch();
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;

  /// From now on a signal closes this writer's run; nullptr: there is none any more.
  void watch(ResultWriter* writer) { writer_ = writer; }

 private:
  void wait();

  std::atomic<ResultWriter*> writer_{nullptr};
  std::atomic<bool> is_over_{false};
  std::thread thread_;
};

}  // namespace sala
