// Finds and runs NVIDIA's profilers.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sala {

/// nsys or ncu: on the PATH, else where the CUDA toolkit and the installers of Nsight put it, the
/// newest first. root: in place of /, for the latter.
std::optional<std::filesystem::path> find_nsight(const std::string& tool,
                                                 const std::filesystem::path& root = "/");

/// The same, or Error that names where it was looked for.
std::filesystem::path require_nsight(const std::string& tool,
                                     const std::filesystem::path& root = "/");

/// Runs a program and waits for it. on_line gets every line of its output as it comes, without the
/// line's end; with_errors: also those of its standard error. Returns its exit code. Throws Error
/// when it cannot be started or is ended by a signal.
int run_tool(const std::vector<std::string>& command, bool with_errors,
             const std::function<void(std::string_view)>& on_line);

}  // namespace sala
