// What this binary was built from.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace sala {

struct BuildInfo {
  std::string version;     // of the project
  std::string git_commit;  // 40 hex digits, or 40 zeros outside a repository
  bool git_dirty = false;
  std::string compiler;
  std::string flags;
  std::string version_line() const;
};

const BuildInfo& build_info();

}  // namespace sala
