// Benchmarks of one GPU's kernels in the shapes of the 9B hybrid and of the 8B full-attention
// model. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/backend/cuda/cost.h"
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/bench/measured.h"

namespace sala {

/// Registers all of them; the backend must be that of a GPU.
void add_cuda_benchmarks(const Bench& bench);

/// One kernel, or several that belong together, with operands of its own.
struct DeviceCase {
  Cost cost;  // of one launch
  /// Sets of operands, which launches take in turn so that they do not find them in the L2.
  std::int64_t copies = 1;
  std::function<void(std::int64_t copy)> launch;
  /// From a CUDA graph, as decoding runs: gaps between launches are the GPU's, not the host's.
  bool is_recorded = false;
};

/// A group of tensors that a case shares with its launches.
using Operands = std::shared_ptr<const std::vector<Tensor>>;

/// Makes operands and registers cases.
class DeviceBench {
 public:
  explicit DeviceBench(const Bench& bench) : bench_(&bench) {}

  CudaBackend& backend() const { return static_cast<CudaBackend&>(bench_->backend); }
  cudaStream_t stream() const { return backend().stream(); }

  /// `make` runs when the benchmark does and may throw.
  void add(const std::string& name, const std::function<DeviceCase()>& make) const;

  /// n matrices of independent random values of standard deviation 1 / shrink.
  Operands random(std::int64_t n, std::int64_t rows, std::int64_t cols, float shrink = 1) const;
  /// n pieces of uninitialised memory.
  std::shared_ptr<const std::vector<Buffer>> memory(std::int64_t n, std::int64_t bytes) const;
  /// How many sets of operands of so many bytes are well above the L2.
  std::int64_t copies_of(double bytes) const;

 private:
  const Bench* bench_;
};

inline __nv_bfloat16* bf16(const Tensor& tensor) {
  return static_cast<__nv_bfloat16*>(tensor.view.data);
}

// One function a family of kernels.
void add_products(const DeviceBench& bench);
void add_elementwise(const DeviceBench& bench);
void add_dense(const DeviceBench& bench);
void add_infllm_v2(const DeviceBench& bench);
void add_lightning(const DeviceBench& bench);

}  // namespace sala
