// Runs the same work in processes of two binaries next to each other, each with its own database.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "harness/compare/pairing.h"

namespace sala {

struct PairCommand {
  std::filesystem::path baseline_binary;
  std::filesystem::path candidate_binary;
  std::filesystem::path folder;  // of the databases; made when missing
};

/// Arguments of sala that measure and take --db: of `sala run` or `sala bench`.
using Work = std::vector<std::string>;

/// SIGINT or SIGTERM came.
class Interrupted : public std::exception {
 public:
  const char* what() const noexcept override { return "interrupted"; }
};

/// While one exists, SIGINT and SIGTERM end the process in progress, and take() throws Interrupted.
class ProcessPairs {
 public:
  using Report = std::function<void(const std::string& line)>;

  /// report: told what runs now.
  ProcessPairs(PairCommand command, Report report);
  ~ProcessPairs();
  ProcessPairs(const ProcessPairs&) = delete;
  ProcessPairs& operator=(const ProcessPairs&) = delete;

  /// Does all of the work once with each binary. From pair to pair the order turns round (A B, B A,
  /// ...), so that a drift of the machine cancels. Throws Error with the end of what a process
  /// printed when it failed.
  std::pair<ComparedSide, ComparedSide> take(const std::vector<Work>& work);

 private:
  ComparedSide run_side(const char* side, const std::filesystem::path& binary,
                        const std::vector<Work>& work) const;

  PairCommand command_;
  Report report_;
  int taken_ = 0;
};

}  // namespace sala
