// Opens a results database: checks that it is one, sets up the connection, names what is wrong.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <filesystem>
#include <memory>
#include <utility>

#include "engine/base/error.h"

namespace sala {

/// Opens or creates the file and brings it to this schema. busy_timeout_ms: how long to wait for
/// another process. Throws Error naming the file when it is no results database, is damaged, comes
/// from a newer sala, cannot be written, or lies on a network file system (where SQLite's
/// write-ahead log is unsafe).
std::unique_ptr<SQLite::Database> open_for_writing(const std::filesystem::path& path,
                                                   int busy_timeout_ms = 10000);

/// Opens an existing file and never writes to it. Throws Error as above and when it is missing.
std::unique_ptr<SQLite::Database> open_for_reading(const std::filesystem::path& path);

/// What SQLite's error means for the file, and what to try.
Error store_error(const std::filesystem::path& path, const SQLite::Exception& error);

/// Runs `action`, turning SQLite's errors into Errors that name the file.
template <typename Action>
auto with_store_errors(const std::filesystem::path& path, Action&& action) {
  try {
    return std::forward<Action>(action)();
  } catch (const SQLite::Exception& error) {
    throw store_error(path, error);
  }
}

/// Magic number of a file system that other hosts may write to, by its usual name; else nullptr.
const char* network_file_system(std::int64_t magic);

}  // namespace sala
