// Reads and writes the safetensors format: a JSON header that names ranges of one byte buffer.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/base/mapped_file.h"
#include "engine/tensor/tensor.h"

namespace sala {

/// One tensor of a file. The bytes belong to the Checkpoint and may be unaligned.
struct StoredTensor {
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
  std::string file;  // path, for messages
};

/// The weights of a model folder, memory-mapped: `model.safetensors`, or the shards named by
/// `model.safetensors.index.json`. Source: github.com/huggingface/safetensors, "Format".
class Checkpoint {
 public:
  /// Throws Error naming file and tensor or field for anything that contradicts itself: lengths and
  /// offsets outside the file, overlaps, sizes that do not match the shape, duplicate names, dtypes
  /// other than F32, F16 and BF16, and an index that disagrees with its shards.
  explicit Checkpoint(const std::filesystem::path& folder);

  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }
  /// The file, or the index, that says which tensors there are.
  const std::filesystem::path& source() const { return source_; }
  /// SHA-256 of the file; with shards, of the lines `HEX  NAME\n` in order of name.
  std::string sha256() const;

 private:
  void open_file(const std::filesystem::path& path);
  void open_shards(const std::filesystem::path& index);

  std::filesystem::path source_;
  std::map<std::string, MappedFile> files_;  // by file name
  std::map<std::string, StoredTensor> tensors_;
};

/// A tensor to be written.
struct TensorToWrite {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;
};

/// Writes one safetensors file. Throws Error when the file cannot be written.
void write_safetensors(const std::filesystem::path& path,
                       const std::vector<TensorToWrite>& tensors);

}  // namespace sala
