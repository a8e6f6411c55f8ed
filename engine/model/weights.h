// Sources of weights: files, random numbers, or none at all for planning.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "engine/model/safetensors.h"
#include "engine/tensor/weight_source.h"

namespace sala {

/// Weights of a Checkpoint, copied to the device one by one.
class FileWeights final : public WeightSource {
 public:
  FileWeights(const Checkpoint& checkpoint, Backend& backend)
      : checkpoint_(checkpoint), backend_(backend) {}
  Tensor load(const std::string& name, std::int64_t rows, std::int64_t cols) override;
  /// Throws Error listing the tensors that no layer asked for; tables of rotary embedding, which
  /// some checkpoints carry, do not count.
  void check_all_used() const;

 private:
  const Checkpoint& checkpoint_;
  Backend& backend_;
  std::set<std::string> used_;
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

/// Hands out tensors without memory and counts them: what a model needs before it is loaded.
class CountedWeights final : public WeightSource {
 public:
  Tensor load(const std::string& name, std::int64_t rows, std::int64_t cols) override;
  std::int64_t n_tensors() const { return n_tensors_; }
  std::int64_t n_parameters() const { return n_parameters_; }

 private:
  std::int64_t n_tensors_ = 0;
  std::int64_t n_parameters_ = 0;
};

}  // namespace sala
