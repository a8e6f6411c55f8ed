// Weights from files and from a seed.
// SPDX-License-Identifier: Apache-2.0
#include "engine/model/weights.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/splitmix.h"

namespace sala {
namespace {

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
  if (name.ends_with("norm.weight")) {
    std::vector<float> ones(static_cast<std::size_t>(rows * cols), 1.0F);
    return backend_.upload({ones.data(), DType::f32, rows, cols}, "weights");
  }
  Tensor tensor = make_tensor(backend_, rows, cols, "weights");
  // Uniform in [-a, a) has standard deviation a / sqrt(3).
  const float half_width = std::sqrt(3.0F / static_cast<float>(cols));
  backend_.fill_uniform(tensor.view, splitmix64(seed_ ^ hash_name(name)), half_width);
  return tensor;
}

Tensor CountedWeights::load(const std::string&, std::int64_t rows, std::int64_t cols) {
  ++n_tensors_;
  n_parameters_ += rows * cols;
  return {{}, {nullptr, DType::f32, rows, cols}};
}

}  // namespace sala
