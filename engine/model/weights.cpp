// Weights from files and from a seed.
// SPDX-License-Identifier: Apache-2.0
#include "engine/model/weights.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "engine/base/bf16.h"
#include "engine/base/error.h"

namespace sala {
namespace {

/// One step of SplitMix64: a bijection that looks random. Source: Steele et al., OOPSLA 2014.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

std::uint64_t hash_name(const std::string& name) {
  std::uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

}  // namespace

Tensor FileWeights::load(const std::string& name, std::int64_t rows, std::int64_t cols) {
  const auto found = checkpoint_.tensors().find(name);
  if (found == checkpoint_.tensors().end()) {
    throw Error(checkpoint_.source().string(), "tensor '{}' ({} x {}) is missing", name, rows,
                cols);
  }
  const StoredTensor& stored = found->second;
  const std::vector<std::int64_t> expected =
      rows == 1 ? std::vector{cols} : std::vector{rows, cols};
  if (stored.shape != expected && stored.shape != std::vector{rows, cols}) {
    throw Error(stored.file, "tensor '{}' has shape {}, the config asks for {}", name, stored.shape,
                expected);
  }
  used_.insert(name);

  // Uploading only reads; TensorView has no form for constant data.
  auto* data = const_cast<std::byte*>(stored.bytes.data());
  std::vector<std::byte> aligned;
  if (reinterpret_cast<std::uintptr_t>(data) %
          static_cast<std::uintptr_t>(dtype_bytes(stored.dtype)) !=
      0) {
    aligned.assign(stored.bytes.begin(), stored.bytes.end());
    data = aligned.data();
  }
  Tensor tensor = backend_.upload({data, stored.dtype, rows, cols}, "weights");
  MappedFile::drop(stored.bytes);
  return tensor;
}

void FileWeights::check_all_used() const {
  std::vector<std::string> unexpected;
  for (const auto& [name, tensor] : checkpoint_.tensors()) {
    const bool rotary_table = name.ends_with("rotary_emb.inv_freq") ||
                              name.ends_with("rotary_emb.cos_cached") ||
                              name.ends_with("rotary_emb.sin_cached");
    if (!used_.contains(name) && !rotary_table) unexpected.push_back(name);
  }
  if (unexpected.empty()) return;
  throw Error(
      checkpoint_.source().string(),
      "{} tensors have no place in the model its config.json describes: {}; does the config "
      "belong to these weights?",
      unexpected.size(), fmt::join(unexpected, ", "));
}

Tensor RandomWeights::load(const std::string& name, std::int64_t rows, std::int64_t cols) {
  Tensor tensor = make_tensor(backend_, rows, cols, "weights");
  const bool is_norm = name.ends_with("norm.weight");
  // Uniform in [-a, a) has standard deviation a / sqrt(3).
  const float half_width = std::sqrt(3.0F / static_cast<float>(cols));
  const std::uint64_t stream = mix(seed_ ^ hash_name(name));
  const auto value = [&](std::int64_t i) {
    const std::uint64_t bits = mix(stream + static_cast<std::uint64_t>(i)) >> 40;  // 24 bits
    return (static_cast<float>(bits) * 0x1p-23F - 1.0F) * half_width;
  };
  // Block by block, so that no second copy of a large matrix is ever held.
  const std::int64_t block_rows = std::clamp<std::int64_t>((1 << 22) / cols, 1, rows);
  std::vector<std::uint16_t> block(static_cast<std::size_t>(block_rows * cols));
  for (std::int64_t first = 0; first < rows; first += block_rows) {
    const std::int64_t n_rows = std::min(block_rows, rows - first);
    for (std::int64_t i = 0; i < n_rows * cols; ++i) {
      block[static_cast<std::size_t>(i)] = f32_to_bf16(is_norm ? 1.0F : value(first * cols + i));
    }
    const Tensor part = backend_.upload({block.data(), DType::bf16, n_rows, cols}, "weights");
    backend_.copy(part.view, tensor.view.row_range(first, n_rows));
  }
  return tensor;
}

Tensor CountedWeights::load(const std::string&, std::int64_t rows, std::int64_t cols) {
  ++n_tensors_;
  n_parameters_ += rows * cols;
  return {{}, {nullptr, DType::f32, rows, cols}};
}

}  // namespace sala
