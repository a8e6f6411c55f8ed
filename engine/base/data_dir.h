// Where the reference models, configurations and texts are.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

namespace sala {

/// The folder named by SALA_DATA_DIR; else data/ one or two folders above the binary; else data/
/// of the source tree this binary was built from. Throws Error when none of them exists.
std::filesystem::path data_dir();

}  // namespace sala
