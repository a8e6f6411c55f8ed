// Table of devices, and what all backends share.
// SPDX-License-Identifier: Apache-2.0
#include <charconv>

#include "engine/backend/backend.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/base/error.h"
#ifdef SALA_WITH_CUDA
#include "engine/backend/cuda/cuda_backend.h"
#endif

namespace sala {
namespace {

/// What "auto" means here: the first GPU if this build and this machine have one.
std::string automatic_device() {
#ifdef SALA_WITH_CUDA
  if (has_cuda_device()) return "cuda:0";
#endif
  return "cpu";
}

/// The index in "cuda" or "cuda:<index>"; nothing for any other text.
std::optional<int> cuda_index(std::string_view device) {
  if (device == "cuda") return 0;
  constexpr std::string_view kPrefix = "cuda:";
  if (!device.starts_with(kPrefix)) return std::nullopt;
  int index = 0;
  const char* end = device.data() + device.size();
  const auto [stop, error] = std::from_chars(device.data() + kPrefix.size(), end, index);
  if (error != std::errc() || stop != end || index < 0) return std::nullopt;
  return index;
}

}  // namespace

const char* device_name(Device device) {
  return device == Device::cpu ? "cpu" : "cuda";
}

Tensor Backend::upload(TensorView host, const char* category) {
  Tensor tensor = make_tensor(*this, host.rows, host.cols, category);
  const Transfer transfer{host, tensor.view};
  upload_each({&transfer, 1});
  return tensor;
}

void Backend::matmul_each(TensorView x, std::span<const Product> products) {
  for (const Product& product : products) matmul(x, product.weight, product.out);
}

void Backend::gated_matmul(TensorView x, TensorView gate, TensorView up, TensorView spare,
                           TensorView out) {
  matmul(x, gate, out);
  matmul(x, up, spare);
  silu_mul(out, spare, out);
}

void Backend::norm_rotary(TensorView x, TensorView weight, float eps, const Rotary& rotary,
                          std::int64_t first_position) {
  const TensorView heads = x.reshaped(rotary.head_dim);
  rms_norm(heads, weight, eps, heads);
  this->rotary(x, rotary, first_position);
}

Tensor make_tensor(Backend& backend, std::int64_t rows, std::int64_t cols, const char* category) {
  const DType dtype = backend.compute_dtype();
  Buffer buffer = backend.allocate(rows * cols * dtype_bytes(dtype), category);
  const TensorView view{buffer.data(), dtype, rows, cols};
  return {std::move(buffer), view};
}

std::unique_ptr<Backend> make_backend(const std::string& device, int threads) {
  if (threads < 0) throw Error("--threads", "expected 0 (all cores) or more, got {}", threads);
  if (device == "auto") return make_backend(automatic_device(), threads);
  if (device == "cpu") return make_cpu_backend(threads);
  if (const std::optional<int> index = cuda_index(device)) {
#ifdef SALA_WITH_CUDA
    return make_cuda_backend(*index);
#else
    throw Error("--device", "'{}' is not in this build; try cpu", device);
#endif
  }
  throw Error("--device", "unknown device '{}'; expected auto, cpu, cuda or cuda:<index>", device);
}

}  // namespace sala
