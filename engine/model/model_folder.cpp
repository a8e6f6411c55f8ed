// Checks on a model folder that need no look inside its weights.
// SPDX-License-Identifier: Apache-2.0
#include "engine/model/model_folder.h"

#include <algorithm>

#include "engine/base/error.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

bool is_within(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first ==
         folder.end();
}

bool is_model_file(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".json" || extension == ".jinja" || extension == ".model" ||
         extension == ".safetensors";
}

/// The folder of the Hugging Face cache that its snapshots link into; empty for other folders.
fs::path blobs_of(const fs::path& canonical_folder) {
  if (canonical_folder.parent_path().filename() != "snapshots") return {};
  return canonical_folder.parent_path().parent_path() / "blobs";
}

}  // namespace

void check_links(const fs::path& folder) {
  std::error_code unlisted;
  const fs::path root = fs::canonical(folder, unlisted);
  const fs::path blobs = blobs_of(root);
  fs::directory_iterator entry;
  if (!unlisted) entry = fs::directory_iterator(root, unlisted);
  for (; !unlisted && entry != fs::directory_iterator(); entry.increment(unlisted)) {
    std::error_code error;
    if (!entry->is_symlink(error) || !is_model_file(entry->path())) continue;
    const fs::path target = fs::canonical(entry->path(), error);
    if (error || is_within(target, root) || (!blobs.empty() && is_within(target, blobs))) continue;
    throw Error((folder / entry->path().filename()).string(),
                "is a symbolic link to {}, outside the model folder; copy the file into the folder "
                "or name the folder that holds it",
                target.string());
  }
  if (unlisted) {
    throw Error(folder.string(), "cannot be listed: {}; check the path and its permissions",
                unlisted.message());
  }
}

std::string unfinished_downloads(const fs::path& folder) {
  std::error_code error;
  const fs::path root = fs::canonical(folder, error);
  int n_unfinished = 0;
  for (const fs::path& place :
       {root, root / ".cache" / "huggingface" / "download", blobs_of(root)}) {
    for (const auto& entry : fs::directory_iterator(place, error)) {
      const std::string extension = entry.path().extension().string();
      n_unfinished += extension == ".incomplete" || extension == ".part" ? 1 : 0;
    }
  }
  if (n_unfinished == 0) return "";
  return fmt::format(
      "; {} unfinished downloads (*.incomplete, *.part) lie beside it, download again",
      n_unfinished);
}

}  // namespace sala
