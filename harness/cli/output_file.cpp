// A process id in the name keeps two commands that write one file apart.
// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/output_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <system_error>

#include "engine/base/error.h"

namespace sala {

void write_whole(const std::filesystem::path& path, std::initializer_list<std::string_view> parts) {
  const std::filesystem::path beside = fmt::format("{}.{}.tmp", path.string(), getpid());
  std::ofstream file(beside, std::ios::binary);
  std::size_t bytes = 0;
  for (const std::string_view part : parts) {
    file << part;
    bytes += part.size();
  }
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(beside, path, error);
  if (!file || error) {
    std::error_code ignored;
    std::filesystem::remove(beside, ignored);
    throw Error(path.string(),
                "cannot be written; check that the folder exists, may be written to and has {} "
                "bytes left",
                bytes);
  }
}

}  // namespace sala
