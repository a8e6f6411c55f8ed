// The part of `sala profile` that has to do with Nsight Systems and Nsight Compute.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/App.hpp>
#include <string>

namespace sala {

struct NsightFlags {
  std::string tool;   // to run: nsys, ncu or empty
  std::string stage;  // for ncu
  std::string report = "sala-profile";
  bool print = false;
  std::string read;   // a report or an export of one
  std::string run;    // stored run that `read` belongs to
  std::string under;  // the tool that runs this very process, if one does

  /// --nsight, --stage, --report, --print, --read, --run and, hidden, --under.
  void declare(CLI::App& app);
};

/// Runs this command under the tool without its rehearsal, which would be captured first, then
/// shows kernels by stage and links them to the run that it stored in db. app: with its options as
/// typed. db: empty for none. Returns the exit code. Throws Error when anything of it fails.
int profile_under_nsight(const NsightFlags& flags, const CLI::App& app, const std::string& db,
                         bool json);

/// Shows what a report holds and links it to a stored run when both are named.
int show_report(const NsightFlags& flags, const std::string& db, bool json);

}  // namespace sala
