// Progress on standard error with the time that is left.
// SPDX-License-Identifier: Apache-2.0
#include "harness/runner/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

namespace sala {
namespace {

using Clock = std::chrono::steady_clock;

std::string format_left(double seconds) {
  if (seconds < 90) return fmt::format("{:.0f} s", seconds);
  if (seconds < 5400) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

}  // namespace

Progress::Progress(bool is_enabled)
    : is_enabled_(is_enabled), is_terminal_(isatty(STDERR_FILENO) == 1) {}

void Progress::plan(std::size_t side, std::int64_t samples, std::int64_t tokens) {
  sides_.resize(std::max(sides_.size(), side + 1));
  sides_[side].tokens += samples * tokens;
  n_planned_ += samples;
}

double Progress::seconds_left() const {
  double known = 0;  // stands for a side that has not run yet
  for (const SideWork& side : sides_) known = std::max(known, side.seconds_per_token);
  double seconds = 0;
  for (const SideWork& side : sides_) {
    const double rate = side.seconds_per_token > 0 ? side.seconds_per_token : known;
    seconds += rate * static_cast<double>(side.tokens);
  }
  return seconds;
}

void Progress::done(std::size_t side, std::int64_t tokens, double seconds, std::string_view label) {
  ++n_done_;
  sides_[side].tokens -= tokens;
  if (seconds > 0) sides_[side].seconds_per_token = seconds / static_cast<double>(tokens);
  if (!is_enabled_) return;
  const auto now = Clock::now();
  const auto pause = is_terminal_ ? std::chrono::milliseconds(100) : std::chrono::seconds(10);
  const bool is_last = n_done_ == n_planned_;
  if (now - last_print_ < pause && !is_last) return;
  last_print_ = now;
  has_line_ = is_terminal_;
  fmt::print(stderr, "{}[{}/{}] {}, about {} left{}", is_terminal_ ? "\r\033[K" : "", n_done_,
             n_planned_, label, format_left(seconds_left()), is_terminal_ ? "" : "\n");
  std::fflush(stderr);
}

void Progress::finish() {
  if (has_line_) fmt::print(stderr, "\n");
  has_line_ = false;
}

}  // namespace sala
