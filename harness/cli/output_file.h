// Files that a command leaves behind.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <initializer_list>
#include <string_view>

namespace sala {

/// Writes the parts one after the other beside the file and renames, so that it is there whole or
/// not at all. Throws Error naming the path.
void write_whole(const std::filesystem::path& path, std::initializer_list<std::string_view> parts);

}  // namespace sala
