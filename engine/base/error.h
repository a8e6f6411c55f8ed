// Errors that a user can act on, and the check for mistakes of our own.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace sala {

/// A condition the user or the surroundings can mend. The text reads
/// "[where] what was wrong, what was expected; what to try".
class Error : public std::runtime_error {
 public:
  /// where: the file, flag or component; the rest is an fmt format string and its arguments.
  template <typename... Args>
  Error(std::string_view where, fmt::format_string<Args...> format, Args&&... args)
      : std::runtime_error(
            fmt::format("[{}] {}", where, fmt::format(format, std::forward<Args>(args)...))) {}
};

/// A request that does not fit in memory, predicted or met. Sizes in bytes.
class OutOfMemory : public Error {
 public:
  OutOfMemory(std::string_view where, std::string category_name, std::int64_t requested,
              std::int64_t available, bool was_predicted)
      : Error(
            where,
            "{} of {} bytes does not fit, {} bytes are available; try a shorter length, a smaller "
            "model or more memory",
            category_name, requested, available),
        category(std::move(category_name)),
        requested_bytes(requested),
        available_bytes(available),
        predicted(was_predicted) {}

  std::string category;  // ledger category of the largest part, e.g. kv_full
  std::int64_t requested_bytes;
  std::int64_t available_bytes;
  bool predicted;  // refused by the memory plan, before anything was allocated
};

[[noreturn]] void check_failed(const char* condition, const char* why, const char* file, int line);

}  // namespace sala

/// Stops the program when `condition` is false: for our bugs, never for user input.
#define SALA_CHECK(condition, why) \
  ((condition) ? void(0) : ::sala::check_failed(#condition, why, __FILE__, __LINE__))
