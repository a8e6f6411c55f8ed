// The files that users bring: where they are, whether they are the originals, how to get them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/task.h"

namespace sala {

/// The file in the first folder of `data` that has it.
std::optional<std::filesystem::path> find_data_file(const std::vector<std::string>& data,
                                                    std::string_view name);

/// The same; throws Error saying how to get the file when no folder has it.
std::filesystem::path data_file(const std::vector<std::string>& data, std::string_view name);

/// Whether there are some of RULER's files: those that are missing then have built-in replacements
/// in strict mode. A folder without any holds something else, and is not passed over in silence.
bool has_ruler_files(const std::vector<std::string>& data);

/// A text file. Throws Error naming it and the byte when it is not valid UTF-8.
std::string read_utf8(const std::filesystem::path& path);

/// A file as a task's source, with its hash; a stand-in when the hash is not the original's.
TaskSource data_source(const std::vector<std::string>& data, std::string_view name);

/// What a task uses in place of a file.
TaskSource built_in_source(std::string_view what);

}  // namespace sala
