// A file seen as memory, read-only.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
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

}  // namespace sala
