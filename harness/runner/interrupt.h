// Ctrl-C: closes the run in progress at once, reports, and ends the process with exit code 3.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
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

  /// From now on a signal closes this writer's run and then calls `report` with the signal's name.
  void watch(ResultWriter& writer, std::function<void(const std::string&)> report);
  /// The run is over. Does not return when a signal came first: the process then ends.
  void stop();

 private:
  void wait();

  std::mutex mutex_;  // of the next two; held to the end of the process once a signal came
  ResultWriter* writer_ = nullptr;
  std::function<void(const std::string&)> report_;
  std::atomic<bool> is_over_{false};
  std::thread thread_;
};

}  // namespace sala
