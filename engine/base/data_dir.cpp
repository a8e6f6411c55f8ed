// Looks for data/ from the environment, then from the binary, then from the source tree.
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/data_dir.h"

#include <cstdlib>
#include <system_error>

#include "engine/base/error.h"

namespace sala {

std::filesystem::path data_dir() {
  namespace fs = std::filesystem;
  if (const char* named = std::getenv("SALA_DATA_DIR"); named != nullptr && *named != '\0') {
    if (!fs::is_directory(named)) {
      throw Error("SALA_DATA_DIR", "'{}' is not a folder; name the data folder or unset it", named);
    }
    return named;
  }
  std::error_code ignored;
  const fs::path binary = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const fs::path& candidate :
       {binary / ".." / "data", binary / ".." / ".." / "data", fs::path(SALA_SOURCE_DATA_DIR)}) {
    if (fs::is_directory(candidate, ignored)) return fs::weakly_canonical(candidate);
  }
  throw Error("data", "no data folder beside the binary or at {}; set SALA_DATA_DIR to one",
              SALA_SOURCE_DATA_DIR);
}

}  // namespace sala
