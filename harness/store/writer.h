// The writing side of the results database: one process, one transaction a sample.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "harness/store/rows.h"

namespace SQLite {
class Database;
}

namespace sala {

/// Every method is one transaction: after a crash at any moment each is there whole or not at all.
/// Throws Error naming the file when the database cannot take it. close_interrupted() may be called
/// from another thread.
class ResultWriter {
 public:
  /// argv: of this process, kept with every run.
  ResultWriter(const std::filesystem::path& path, const std::vector<std::string>& argv,
               int busy_timeout_ms = 10000);
  ~ResultWriter();
  ResultWriter(const ResultWriter&) = delete;
  ResultWriter& operator=(const ResultWriter&) = delete;

  /// Finds the sweep of this specification or adds it with its cells; runs whose process is gone
  /// become killed. Throws Error when a live process works on it.
  void open_sweep(const SweepRow& sweep, const EnvironmentRow& environment,
                  const std::vector<CellRow>& cells);
  const std::string& sweep_uid() const { return sweep_uid_; }
  CellState state(std::size_t cell) const;

  /// Starts an attempt of a cell (index into the cells given to open_sweep).
  void begin_run(std::size_t cell);
  void append(const SampleRow& sample);
  /// unanswered: samples of the cell that get no try any more, each stored as a miss.
  void end_run(const RunEnd& end, const std::vector<std::pair<PromptRow, AnswerRow>>& unanswered);
  /// Marks the run in progress, if there is one, as killed; later calls of any method wait for
  /// ever.
  void close_interrupted(const std::string& reason);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::string sweep_uid_;
};

}  // namespace sala
