// Weights from files and from a seed.
// SPDX-License-Identifier: Apache-2.0
#include "engine/model/weights.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "engine/base/error.h"
#include "engine/base/splitmix.h"

namespace sala {
namespace {

std::uint64_t hash_name(const std::string& name) {
  std::uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

constexpr const char* kHead = "lm_head.weight";
constexpr const char* kEmbedding = "model.embed_tokens.weight";

bool is_rotary_table(const std::string& name) {
  return name.ends_with("rotary_emb.inv_freq") || name.ends_with("rotary_emb.cos_cached") ||
         name.ends_with("rotary_emb.sin_cached");
}

bool is_copy(const StoredTensor& tensor, const std::map<std::string, StoredTensor>& stored,
             const std::string& of) {
  const auto original = stored.find(of);
  return original != stored.end() && original->second.dtype == tensor.dtype &&
         original->second.shape == tensor.shape &&
         std::equal(tensor.bytes.begin(), tensor.bytes.end(), original->second.bytes.begin(),
                    original->second.bytes.end());
}

/// "2 missing (a, b)", with the first few names; nothing when there are none.
void append_list(std::vector<std::string>& parts, const char* what,
                 const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 4;
  if (names.empty()) return;
  const std::size_t n_shown = std::min(names.size(), kShown);
  std::string list = fmt::format("{}", fmt::join(names.begin(), names.begin() + n_shown, ", "));
  if (names.size() > n_shown) list += fmt::format(" and {} more", names.size() - n_shown);
  parts.push_back(fmt::format("{} {} ({})", names.size(), what, list));
}

}  // namespace

Tensor FileWeights::load(const std::string& name, std::int64_t rows, std::int64_t cols) {
  const StoredTensor& stored = checkpoint_.tensors().at(name);
  const std::int64_t bytes = rows * cols * dtype_bytes(stored.dtype);
  SALA_CHECK(static_cast<std::int64_t>(stored.bytes.size()) == bytes, "shapes were checked");
  // Uploading only reads; TensorView has no form for constant data.
  auto* data = const_cast<std::byte*>(stored.bytes.data());
  if (reinterpret_cast<std::uintptr_t>(data) %
          static_cast<std::uintptr_t>(dtype_bytes(stored.dtype)) !=
      0) {
    data = aligned_.emplace_back(stored.bytes.begin(), stored.bytes.end()).data();
  }
  Tensor tensor = make_tensor(backend_, rows, cols, "weights");
  transfers_.push_back({{data, stored.dtype, rows, cols}, tensor.view});
  return tensor;
}

std::int64_t FileWeights::fill() {
  backend_.upload_each(transfers_);
  std::int64_t bytes = 0;
  for (const Transfer& transfer : transfers_) bytes += transfer.host.bytes();
  transfers_.clear();
  aligned_.clear();
  for (const auto& [name, tensor] : checkpoint_.tensors()) MappedFile::drop(tensor.bytes);
  return bytes;
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

Tensor ListedWeights::load(const std::string& name, std::int64_t rows, std::int64_t cols) {
  tensors_.push_back({name, rows, cols});
  return {{}, {nullptr, DType::f32, rows, cols}};
}

void check_tensors(const Checkpoint& checkpoint, const std::vector<WantedTensor>& wanted) {
  const auto& stored = checkpoint.tensors();
  std::set<std::string> names;
  std::vector<std::string> missing;
  std::vector<std::string> misshapen;
  for (const WantedTensor& tensor : wanted) {
    names.insert(tensor.name);
    const auto found = stored.find(tensor.name);
    const std::vector matrix{tensor.rows, tensor.cols};
    const std::vector expected = tensor.rows == 1 ? std::vector{tensor.cols} : matrix;
    if (found == stored.end()) {
      missing.push_back(fmt::format("{} {}", tensor.name, expected));
    } else if (found->second.shape != expected && found->second.shape != matrix) {
      misshapen.push_back(
          fmt::format("{} is {} in {}, expected {}", tensor.name, found->second.shape,
                      std::filesystem::path(found->second.file).filename().string(), expected));
    }
  }
  std::vector<std::string> unexpected;
  for (const auto& [name, tensor] : stored) {
    if (names.contains(name) || is_rotary_table(name)) continue;
    if (name == kHead && is_copy(tensor, stored, kEmbedding)) continue;
    unexpected.push_back(name);
    if (name == kHead) {
      unexpected.back() += " (tie_word_embeddings is true, but it differs from the embedding)";
    }
  }
  std::vector<std::string> problems;
  append_list(problems, "tensors missing", missing);
  append_list(problems, "of another shape", misshapen);
  append_list(problems, "unexpected", unexpected);
  if (problems.empty()) return;
  throw Error(checkpoint.source().string(),
              "does not hold the model that config.json describes: {}; do the two belong together?",
              fmt::join(problems, "; "));
}

}  // namespace sala
