// Progress on standard error with the time that is left.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

namespace sala {

/// One line that is rewritten on a terminal; a line every ten seconds otherwise.
class Progress {
 public:
  explicit Progress(bool is_enabled);
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Adds work of one side: samples of `tokens` tokens each.
  void plan(std::size_t side, std::int64_t samples, std::int64_t tokens);
  /// Takes a sample off; seconds: what it took, 0 when it was not run.
  void done(std::size_t side, std::int64_t tokens, double seconds, std::string_view label);
  /// Ends the line.
  void finish();

 private:
  struct SideWork {
    std::int64_t tokens = 0;
    double seconds_per_token = 0;  // of the last sample
  };
  double seconds_left() const;

  bool is_enabled_;
  bool is_terminal_;
  bool has_line_ = false;
  std::int64_t n_planned_ = 0;
  std::int64_t n_done_ = 0;
  std::vector<SideWork> sides_;
  std::chrono::steady_clock::time_point last_print_{};
};

}  // namespace sala
