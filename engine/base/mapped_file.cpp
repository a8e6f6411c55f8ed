// Memory-mapped files by POSIX calls.
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "engine/base/error.h"

namespace sala {
namespace {

class FileDescriptor {
 public:
  explicit FileDescriptor(const std::filesystem::path& path)
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  const FileDescriptor file(path);
  struct stat status{};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) {
    throw Error(path.string(), "cannot be opened: {}; check the path and its permissions",
                std::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(path.string(), "is not a regular file; name a file, not a folder or a device");
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return;
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (data == MAP_FAILED) {
    throw Error(path.string(), "cannot be mapped into memory: {}; is it on a local disk?",
                std::strerror(errno));
  }
  bytes_ = {static_cast<const std::byte*>(data), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MappedFile::prefetch(std::span<const std::byte> part) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t before = reinterpret_cast<std::uintptr_t>(part.data()) % page;
  ::madvise(const_cast<std::byte*>(part.data()) - before, part.size() + before, MADV_WILLNEED);
}

void MappedFile::drop(std::span<const std::byte> part) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  // Only whole pages: those at the ends may hold neighbours.
  const std::size_t skip = (page - reinterpret_cast<std::uintptr_t>(part.data()) % page) % page;
  if (part.size() < skip + page) return;
  ::madvise(const_cast<std::byte*>(part.data()) + skip, (part.size() - skip) / page * page,
            MADV_DONTNEED);
}

std::string read_text_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

std::string read_checkpoint_text(const std::filesystem::path& path) {
  std::string text = read_text_file(path);
  refuse_lfs_pointer(path, text);
  return text;
}

void refuse_lfs_pointer(const std::filesystem::path& path, std::string_view text) {
  if (!text.starts_with("version https://git-lfs")) return;
  throw Error(path.string(),
              "is a pointer of Git LFS, not the file itself; fetch it with git lfs pull");
}

bool file_exists(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (std::filesystem::status_known(status)) return std::filesystem::exists(status);
  throw Error(path.string(), "cannot be followed: {}; check its links and permissions",
              error.message());
}

}  // namespace sala
