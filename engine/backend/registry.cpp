// Table of devices, and what all backends share.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/backend.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/base/error.h"

namespace sala {

const char* device_name(Device device) {
  return device == Device::cpu ? "cpu" : "cuda";
}

Tensor make_tensor(Backend& backend, std::int64_t rows, std::int64_t cols, const char* category) {
  const DType dtype = backend.compute_dtype();
  Buffer buffer = backend.allocate(rows * cols * dtype_bytes(dtype), category);
  const TensorView view{buffer.data(), dtype, rows, cols};
  return {std::move(buffer), view};
}

std::unique_ptr<Backend> make_backend(const std::string& device, int threads) {
  if (threads < 0) throw Error("--threads", "expected 0 (all cores) or more, got {}", threads);
  if (device == "cpu" || device == "auto") return make_cpu_backend(threads);
  if (device == "cuda" || device.starts_with("cuda:")) {
    throw Error("--device", "'{}' is not in this build; try cpu", device);
  }
  throw Error("--device", "unknown device '{}'; expected auto, cpu, cuda or cuda:<index>", device);
}

}  // namespace sala
