// Which files a model folder may lead to, and what a damaged or unfinished one should be told.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

namespace sala {

/// Symbolic links among a folder's .json, .jinja, .model and .safetensors files must lead into the
/// folder or, where it is a snapshot of the Hugging Face cache (.../snapshots/REVISION), to the
/// cache's own ../../blobs. Throws Error naming link and target for any other; a link to nothing
/// counts as a missing file.
void check_links(const std::filesystem::path& folder);

/// What to add to a message about missing or short files: how many downloads were left unfinished
/// (*.incomplete, *.part) in the folder or its cache; "" when none were.
std::string unfinished_downloads(const std::filesystem::path& folder);

}  // namespace sala
