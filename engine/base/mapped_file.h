// A file seen as memory, read-only.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace sala {

/// Maps a regular file for as long as it lives.
class MappedFile {
 public:
  /// Throws Error naming the path when it is missing, not a regular file or cannot be mapped.
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }
  /// Tells the system that all of a part of bytes() will be read soon.
  static void prefetch(std::span<const std::byte> part);
  /// Tells the system that a part of bytes() will not be read again soon.
  static void drop(std::span<const std::byte> part);

 private:
  std::span<const std::byte> bytes_;
};

/// The whole file as text. Throws Error naming the path.
std::string read_text_file(const std::filesystem::path& path);

/// read_text_file for a file of a checkpoint, see refuse_lfs_pointer.
std::string read_checkpoint_text(const std::filesystem::path& path);

/// Throws Error if the text of a checkpoint's file is what Git LFS leaves in place of it.
void refuse_lfs_pointer(const std::filesystem::path& path, std::string_view text);

/// Whether there is such a file; a link to nothing is none. Throws Error where that cannot be said,
/// as of links that lead in a circle.
bool file_exists(const std::filesystem::path& path);

}  // namespace sala
