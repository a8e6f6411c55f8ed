// Sources of weights: files, random numbers, or none at all for planning.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/model/safetensors.h"
#include "engine/tensor/weight_source.h"

namespace sala {

/// Weights of a Checkpoint that passed check_tensors(). load() only makes room on the device, so
/// that fill() can copy everything at once.
class FileWeights final : public WeightSource {
 public:
  FileWeights(const Checkpoint& checkpoint, Backend& backend)
      : checkpoint_(checkpoint), backend_(backend) {}
  Tensor load(const std::string& name, std::int64_t rows, std::int64_t cols) override;
  /// Copies what load() handed out, where it must still be. Returns how many bytes of the files.
  std::int64_t fill();

 private:
  const Checkpoint& checkpoint_;
  Backend& backend_;
  std::vector<Transfer> transfers_;
  std::vector<std::vector<std::byte>> aligned_;  // copies of what lies crooked in its file
};

/// Random weights of a model's true sizes, for speed and memory: bf16 values of mean 0 and standard
/// deviation 1 / sqrt(cols), norms 1. A function of seed, name and position alone.
class RandomWeights final : public WeightSource {
 public:
  RandomWeights(std::uint64_t seed, Backend& backend) : seed_(seed), backend_(backend) {}
  Tensor load(const std::string& name, std::int64_t rows, std::int64_t cols) override;

 private:
  std::uint64_t seed_;
  Backend& backend_;
};

/// A weight that a model asks for; a vector has rows = 1.
struct WantedTensor {
  std::string name;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
};

/// Hands out tensors without memory and lists them: what a model needs before it is loaded.
class ListedWeights final : public WeightSource {
 public:
  Tensor load(const std::string& name, std::int64_t rows, std::int64_t cols) override;
  const std::vector<WantedTensor>& tensors() const { return tensors_; }

 private:
  std::vector<WantedTensor> tensors_;
};

/// Throws one Error that lists the wanted tensors which a checkpoint lacks or has in another shape
/// and those it has beyond them. Tables of rotary embedding do not count, nor does the copy of the
/// embedding that some tied checkpoints store as their head; a head that differs does.
void check_tensors(const Checkpoint& checkpoint, const std::vector<WantedTensor>& wanted);

}  // namespace sala
